//! Lists: in pages, each of which says what the next one begins after, and sorted as is asked for.

use std::cmp::Reverse;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::ArrayItems;
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Required, Schema, Type};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::store::slice::Slice;

const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 500;

/// A key of a list, with what it is of an item.
pub(super) type SortKey<T> = (&'static str, fn(&T) -> Key);

/// What comes in lists.
pub(super) trait Listed: Sized + 'static {
    /// What a list can be sorted by.
    const KEYS: &'static [SortKey<Self>];
    /// How it is sorted unless something else is asked for; `-` in front of a key turns it round.
    const DEFAULT: &'static str = Self::KEYS[0].0;

    /// Tells it from everything else in its list, and decides where keys are the same.
    fn identity(&self) -> String;
}

/// What decides which of two items comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    None,
    Number(i64),
    Time(DateTime<Utc>),
    Text(String),
    Version(semver::Version),
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&DateTime<Utc>> for Key {
    fn from(time: &DateTime<Utc>) -> Self {
        Self::Time(*time)
    }
}

impl From<&i64> for Key {
    fn from(number: &i64) -> Self {
        Self::Number(*number)
    }
}

impl<'a, T> From<Option<&'a T>> for Key
where
    &'a T: Into<Key>,
{
    fn from(value: Option<&'a T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// Which page of a list is asked for.
#[derive(Debug, Deserialize)]
#[serde(bound = "")]
pub(super) struct Wanted<T: Listed> {
    limit: Option<u32>,
    cursor: Option<String>,
    sort: Option<String>,
    #[serde(skip)]
    list: PhantomData<T>,
}

impl<T: Listed> IntoParams for Wanted<T> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |name: &str, what: &str, schema: ObjectBuilder| {
            Parameter::builder()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .description(Some(what))
                .schema(Some(schema))
                .build()
        };
        let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(LIMIT_MAX));
        let sorts = T::KEYS.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]);
        vec![
            parameter("limit", "So many at most.", limit.default(Some(LIMIT.into()))),
            parameter("cursor", "`next` of the page before.", ObjectBuilder::new().schema_type(Type::String)),
            parameter(
                "sort",
                "What decides the order; with `-` in front it is turned round.",
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .enum_values(Some(sorts))
                    .default(Some(T::DEFAULT.into())),
            ),
        ]
    }
}

/// How a list is sorted, and the item that a page of it begins after.
#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: String,
    key: Key,
    identity: String,
}

/// A page that is asked for, as it can be looked up.
pub(super) struct Cut<T: Listed> {
    key: fn(&T) -> Key,
    is_descending: bool,
    /// As it is asked for.
    sort: String,
    after: Option<Cursor>,
    limit: u32,
}

impl<T: Listed> Wanted<T> {
    pub(super) fn read(self) -> Result<Cut<T>, Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid("query/limit", format!("a page has 1 to {LIMIT_MAX}")));
        }
        let sort = self.sort.unwrap_or_else(|| T::DEFAULT.to_owned());
        let name = sort.strip_prefix('-').unwrap_or(&sort);
        let Some((_, key)) = T::KEYS.iter().find(|(key, _)| *key == name) else {
            let names = T::KEYS.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let expected = format!("it can be sorted by {names}, with `-` in front to turn it round");
            return Err(Problem::invalid("query/sort", expected));
        };
        let after = self.cursor.as_deref().map(|text| Cursor::read(text, &sort)).transpose()?;
        Ok(Cut { key: *key, is_descending: sort.starts_with('-'), sort, after, limit })
    }
}

impl Cursor {
    fn read(text: &str, sort: &str) -> Result<Self, Problem> {
        let wrong = |expected: &str| Problem::invalid("query/cursor", expected.to_owned());
        let cursor = URL_SAFE_NO_PAD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let cursor: Self =
            cursor.ok_or_else(|| wrong("this is no cursor: send `next` of the page before as it is"))?;
        if cursor.sort != sort {
            return Err(wrong(
                "this is the cursor of a list that is sorted otherwise: ask with the same `sort`",
            ));
        }
        Ok(cursor)
    }
}

impl<T: Listed> Cut<T> {
    /// What is to be looked up of a list that is sorted by the identity of its items: one more than the page has, to see
    /// whether there is another.
    pub(super) fn slice<I: FromStr>(&self) -> Result<Slice<I>, Problem> {
        let after = self.after.as_ref().map(|after| after.identity.parse()).transpose();
        let after =
            after.map_err(|_| Problem::invalid("query/cursor", "this is the cursor of another list"))?;
        Ok(Slice { after, is_descending: self.is_descending, limit: self.limit + 1 })
    }

    /// The page, of what [`Cut::slice`] says.
    pub(super) fn page(&self, mut items: Vec<T>) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let is_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| is_more).map(|last| self.cursor(last));
        Page { items, next }
    }

    /// The page, of everything that there is.
    pub(super) fn page_of(&self, all: Vec<T>) -> Page<T> {
        let place = |item: &T| ((self.key)(item), item.identity());
        let after = self.after.as_ref().map(|after| (after.key.clone(), after.identity.clone()));
        let mut items = all.into_iter().map(|item| (place(&item), item)).collect::<Vec<_>>();
        if self.is_descending {
            items.retain(|(place, _)| after.as_ref().is_none_or(|after| place < after));
            items.sort_by(|(one, _), (other, _)| Reverse(one).cmp(&Reverse(other)));
        } else {
            items.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
            items.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        self.page(items.into_iter().map(|(_, item)| item).collect())
    }

    fn cursor(&self, last: &T) -> String {
        let cursor = Cursor { sort: self.sort.clone(), key: (self.key)(last), identity: last.identity() };
        URL_SAFE_NO_PAD.encode(serde_json::json!(cursor).to_string())
    }
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// The cursor of the next page; none on the last.
    next: Option<String>,
}

impl<T> Page<T> {
    /// All of a list.
    pub(super) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Calls what a page has by its name where the document that describes the API has all of it once more.
pub(super) fn name_items(name: &str, schema: &mut RefOr<Schema>) {
    if let Some(item) = name.strip_prefix("Page_")
        && let RefOr::T(Schema::Object(page)) = schema
        && let Some(RefOr::T(Schema::Array(items))) = page.properties.get_mut("items")
    {
        items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(item).into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Item(&'static str, i64);

    impl Listed for Item {
        const KEYS: &'static [SortKey<Self>] =
            &[("name", |item| Key::Text(item.0.to_owned())), ("size", |item| (&item.1).into())];

        fn identity(&self) -> String {
            self.0.to_owned()
        }
    }

    fn wanted(sort: &str, cursor: Option<String>, limit: u32) -> Result<Cut<Item>, Problem> {
        Wanted { limit: Some(limit), cursor, sort: Some(sort.to_owned()), list: PhantomData }.read()
    }

    fn all() -> Vec<Item> {
        vec![Item("d", 1), Item("a", 2), Item("c", 1), Item("b", 3), Item("e", 1)]
    }

    fn in_pages(sort: &str, limit: u32) -> String {
        let (mut names, mut cursor) = (String::new(), None);
        loop {
            let page = wanted(sort, cursor, limit).expect("readable").page_of(all());
            names.extend(page.items.iter().map(|item| item.0));
            cursor = page.next;
            if cursor.is_none() {
                return names;
            }
        }
    }

    #[test]
    fn pages_have_everything_once_in_its_order() {
        for (sort, names) in [("name", "abcde"), ("-name", "edcba"), ("size", "cdeab"), ("-size", "baedc")] {
            for limit in 1..=6 {
                assert_eq!(in_pages(sort, limit), names, "{sort}, {limit} on a page");
            }
        }
    }

    #[test]
    fn a_page_goes_on_after_what_is_gone() {
        let first = wanted("size", None, 2).expect("readable").page_of(all());
        let mut rest = all();
        rest.retain(|item| item.0 != "d");
        let second = wanted("size", first.next, 2).expect("readable").page_of(rest);
        assert_eq!(second.items, [Item("e", 1), Item("a", 2)]);
    }

    #[test]
    fn a_cursor_is_of_its_own_list() {
        let next = wanted("size", None, 2).expect("readable").page_of(all()).next;
        assert!(wanted("name", next, 2).is_err());
        assert!(wanted("name", Some("bmV4dA".to_owned()), 2).is_err());
        assert!(wanted("weight", None, 2).is_err());
    }
}

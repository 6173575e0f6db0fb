//! Changes of what is declared: documents of which the fields that are to be others are sent.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Problem;

/// What can be declared, and changed afterwards.
pub(super) trait Changeable: ToSchema {
    /// The fields that are not changed like this.
    const FIXED: &'static [&'static str] = &["ref"];
}

/// A document that says what of a `T` is to be another.
#[derive(Debug)]
pub(super) struct Change<T>(PhantomData<T>);

impl<T: Changeable> PartialSchema for Change<T> {
    /// That of a `T` of which everything can be left out, or null.
    fn schema() -> RefOr<Schema> {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            let what = "What is to be another: what is null is taken out, what is left out stays.";
            object.description = Some(what.to_owned());
            object.required.clear();
            object.properties.retain(|name, _| !T::FIXED.contains(&name.as_str()));
            object.properties.values_mut().for_each(or_null);
        }
        schema
    }
}

impl<T: Changeable> ToSchema for Change<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Change", T::name().trim_start_matches("New")).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

fn or_null(schema: &mut RefOr<Schema>) {
    let kind = match schema {
        RefOr::T(Schema::Object(object)) => {
            if let Some(values) = &mut object.enum_values {
                values.push(Json::Null);
            }
            &mut object.schema_type
        }
        RefOr::T(Schema::Array(array)) => &mut array.schema_type,
        RefOr::T(_) | RefOr::Ref(_) => return,
    };
    if let SchemaType::Type(one) = kind {
        *kind = SchemaType::from_iter([one.clone(), Type::Null]);
    }
}

/// A document as packs write it: what is null is left out.
pub(super) fn written(mut document: Map<String, Json>) -> Json {
    document.retain(|_, value| !value.is_null());
    Json::Object(document)
}

/// A document with changes: what is null in those is taken out, and what they leave out stays (RFC 7396, of one level).
pub(super) fn merged<T: Serialize>(
    current: &T,
    change: Map<String, Json>,
) -> Result<Map<String, Json>, Problem> {
    if change.contains_key("ref") {
        return Err(Problem::invalid("/ref", "what something is called can't be changed"));
    }
    let Json::Object(mut document) = json!(current) else { return Err(Problem::internal()) };
    document.extend(change);
    document.retain(|_, value| !value.is_null());
    Ok(document)
}

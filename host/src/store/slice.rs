//! Parts of lists that are too long to be read as a whole.

/// A part of a list that is sorted by what tells its items apart: all of it by default, from the lowest on.
#[derive(Clone, Copy, Debug)]
pub struct Slice<I> {
    /// What comes after this one, the last of the part before.
    pub after: Option<I>,
    /// Whether the highest comes first.
    pub is_descending: bool,
    /// So many at most.
    pub limit: u32,
}

impl<I> Default for Slice<I> {
    fn default() -> Self {
        Self { after: None, is_descending: false, limit: u32::MAX }
    }
}

impl<I> Slice<I> {
    /// The last `limit`, the highest first.
    #[must_use]
    pub fn last(limit: u32) -> Self {
        Self { after: None, is_descending: true, limit }
    }

    /// That one of both statements that [`sliced`] makes of one which goes this way.
    pub(super) fn way(&self, [up, down]: [&'static str; 2]) -> &'static str {
        if self.is_descending { down } else { up }
    }

    pub(super) fn limit(&self) -> i64 {
        i64::from(self.limit)
    }
}

/// A select with a condition, of which a [`Slice`] by a column is read: upwards, and downwards.
macro_rules! sliced {
    ($select:expr, $column:literal after $after:literal, limit $limit:literal) => {
        [
            concat!(
                $select,
                " and (",
                $after,
                " is null or ",
                $column,
                " > ",
                $after,
                ") order by ",
                $column,
                " limit ",
                $limit
            ),
            concat!(
                $select,
                " and (",
                $after,
                " is null or ",
                $column,
                " < ",
                $after,
                ") order by ",
                $column,
                " desc limit ",
                $limit
            ),
        ]
    };
}
pub(super) use sliced;

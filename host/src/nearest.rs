//! What was probably meant by a name that nothing has.

/// From here on two names are alike (Jaro and Winkler, 0 to 1).
const SIMILARITY_MIN: f64 = 0.8;

/// The one of `known`, each with the text that it is compared by, that is most like `text`, if any is; of
/// several, the first.
pub(crate) fn nearest<'a, T>(known: impl IntoIterator<Item = (&'a str, T)>, text: &str) -> Option<T> {
    known
        .into_iter()
        .map(|(compared, meant)| (strsim::jaro_winkler(compared, text), meant))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .reduce(|best, other| if other.0 > best.0 { other } else { best })
        .map(|(_, meant)| meant)
}

/// The same among names.
pub(crate) fn nearest_name(known: impl IntoIterator<Item = String>, text: &str) -> Option<String> {
    let known = known.into_iter().collect::<Vec<_>>();
    nearest(known.iter().map(|name| (name.as_str(), name)), text).cloned()
}

/// A hint at it.
pub(crate) fn did_you_mean(name: &str) -> String {
    format!("; did you mean `{name}`?")
}

//! What the API is to be like, and where it is.

use super::{Resolver, value};

/// Requests a second: more than a caller can need, and less than keeps everybody else from being answered.
const RATE_LIMIT: u32 = 5000;

/// Settings of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSettings {
    /// Requests a second of each token. None: any number.
    pub rate_limit: Option<u32>,
    /// Whose pages may ask.
    pub origins: Vec<String>,
    /// Where actions find it; none unless they are run by the process that serves it.
    pub url: Option<String>,
}

impl Resolver<'_> {
    pub(super) fn api(&mut self) -> ApiSettings {
        let shown = |_: &Option<u32>| RATE_LIMIT.to_string();
        ApiSettings {
            rate_limit: self.settle("api_rate_limit", Some(RATE_LIMIT), value::rate, shown),
            origins: self.settle("api_origins", Vec::new(), value::origins, |_| "none".to_owned()),
            url: self.optional("api_url", "that of `attune serve`", value::url),
        }
    }
}

//! The query of a request, decoded once; of a repeated parameter the first value counts.

use axum::extract::RawQuery;

/// Names and values in order.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn read(RawQuery(query): &RawQuery) -> Self {
        let query = query.as_deref().unwrap_or_default();
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Every value of `name` that is not empty.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The first value of `name`; an empty one counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }
}

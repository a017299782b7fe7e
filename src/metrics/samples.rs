//! What a catalogue entry reads from a report: values with their label values, on their way to the page.
//!
//! Cuts long label values. Knows neither the metric's name nor its label names.

use crate::model::PhaseHistogram;
use std::time::{Duration, SystemTime};

/// Longer label values are cut: a certificate may name thousands of hosts, and every scrape would carry them.
pub(super) const MAX_LABEL_VALUE: usize = 4 * 1024;

/// The samples of one metric over all rows of a page.
#[derive(Debug, Default)]
pub struct Samples {
    row: usize,
    list: Vec<Sample>,
}

impl Samples {
    /// Adds the sample of a metric without labels of its own.
    pub fn put(&mut self, value: impl Into<Value>) {
        self.put_with(&[], value);
    }

    /// Adds the sample of a metric without labels of its own, if its value is known.
    pub fn put_known(&mut self, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(value);
        }
    }

    /// Adds one sample; `labels` are the values of the metric's labels, in the catalogue's order.
    pub fn put_with(&mut self, labels: &[&str], value: impl Into<Value>) {
        let labels = labels.iter().map(|text| cut(text).to_owned()).collect();
        self.list.push(Sample { row: self.row, labels, value: value.into() });
    }

    /// Adds a sample of value 1 whose labels are the message.
    pub fn info(&mut self, labels: &[&str]) {
        self.put_with(labels, true);
    }

    /// Adds a sample of value 1 with one label, if its value is known.
    pub fn info_known(&mut self, label: Option<&str>) {
        if let Some(label) = label {
            self.info(&[label]);
        }
    }

    /// Whose samples come next: an index into the page's rows.
    pub(super) fn set_row(&mut self, row: usize) {
        self.row = row;
    }

    /// All samples, in the order they were added.
    pub(super) fn into_list(self) -> Vec<Sample> {
        self.list
    }
}

/// One value and what tells it apart.
#[derive(Debug)]
pub(super) struct Sample {
    /// Which row of the page it belongs to.
    pub(super) row: usize,
    /// The values of the metric's own labels.
    pub(super) labels: Vec<String>,
    /// The value.
    pub(super) value: Value,
}

/// The value of one sample. Whole numbers stay whole, so that they are printed exactly.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole number that may be negative.
    Whole(i64),
    /// A count.
    Count(u64),
    /// Any other number.
    Real(f64),
    /// A distribution.
    Histogram(Box<PhaseHistogram>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Count(value.into())
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Count(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Count(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Count(value as u64)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Duration> for Value {
    /// In seconds.
    fn from(value: Duration) -> Self {
        Self::Real(value.as_secs_f64())
    }
}

impl From<SystemTime> for Value {
    /// In Unix seconds; 0 for times before 1970.
    fn from(value: SystemTime) -> Self {
        value.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().into()
    }
}

impl From<&PhaseHistogram> for Value {
    fn from(value: &PhaseHistogram) -> Self {
        Self::Histogram(Box::new(*value))
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_LABEL_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_label_values_are_cut_between_characters() {
        let long = format!("x{}", "å".repeat(MAX_LABEL_VALUE));
        assert_eq!(cut(&long).len(), MAX_LABEL_VALUE - 1);
        assert_eq!(cut("short"), "short");
    }
}

//! A page of metrics in text format 0.0.4, read back by rules of our own: what a page must never hold fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// One sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(name, value)| self.label(name) == *value)
    }
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) samples: Vec<Sample>,
    /// The type of each family.
    pub(crate) types: BTreeMap<String, String>,
}

impl Page {
    /// Reads a page. Fails the test on a line that is none, a sample that stands twice, a family that stands in two places
    /// or has no type, and a timestamp.
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self { samples: Vec::new(), types: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        let mut family = String::new();
        assert!(text.ends_with('\n'), "the last line must end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                name.clone_into(&mut family);
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} stands in two places");
            } else if !line.starts_with('#') {
                let sample = parse_sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
                assert!(sample.name.starts_with(&family) && !family.is_empty(), "out of its family: {line}");
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
                page.samples.push(sample);
            }
        }
        page
    }

    /// The samples of this name that have these labels.
    pub(crate) fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.has(name, labels)).collect()
    }

    /// The value of the one sample of this name and these labels, if there is one.
    #[track_caller]
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.all(name, labels);
        assert!(found.len() < 2, "{name} {labels:?} is not one sample: {found:?}");
        found.first().map(|sample| sample.value)
    }

    /// The value of the one sample of this name and these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }

    /// Whether there is a sample of this name with these labels and this value.
    pub(crate) fn says(&self, name: &str, labels: &[(&str, &str)], value: f64) -> bool {
        self.all(name, labels).iter().any(|sample| (sample.value - value).abs() < 1e-9)
    }

    /// `success` or `phase/reason`, as the series with these labels say it. Fails the test when they do not agree.
    #[track_caller]
    pub(crate) fn verdict(&self, labels: &[(&str, &str)]) -> String {
        let failures = self.all("probe_failure_info", labels);
        if self.says("probe_success", labels, 1.0) {
            assert!(failures.is_empty(), "a success with a reason to fail: {failures:?}");
            return "success".to_owned();
        }
        assert!(self.says("probe_success", labels, 0.0), "no verdict for {labels:?}");
        assert_eq!(failures.len(), 1, "a failure has one phase and one reason: {failures:?}");
        format!("{}/{}", failures[0].label("phase"), failures[0].label("reason"))
    }
}

fn parse_sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let value = value.strip_prefix(' ')?;
    assert!(!value.contains(' '), "a timestamp: {line}");
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// The labels up to the closing brace, and what follows it.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('"' | '\\') => c,
                    _ => return None,
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "the label {name} stands twice");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some((labels, &rest[1..]))
}

#[test]
fn escapes_and_braces_in_labels_are_read_back() {
    let page = Page::parse("# TYPE a gauge\na{x=\"}\\\"\\\\\\n,\",y=\"\"} 2.5\na 1\n");
    assert_eq!(page.all("a", &[("x", "}\"\\\n,")]).len(), 1);
    assert!(page.says("a", &[("y", "")], 1.0));
}

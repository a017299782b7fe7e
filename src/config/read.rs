//! A tree in, serde types out, with *every* value that does not fit reported: its place, what stands there, what
//! belongs there.
//!
//! serde stops at the first error, so the faulty value is noted, taken out, and the tree read again. Texts are quoted
//! in errors only where a bool or a number belongs, so that a misplaced password never is.

use super::error::{At, Findings, Wrong, nearest, wrong};
use super::tree::{Kind, Node};
use serde::{
    Deserialize, Deserializer, de,
    de::{DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use std::fmt;

/// With more than this many faults the rest of the file is not worth reading.
const MAX_FAULTS: usize = 100;

/// Reads `tree` as a `T`. `None` when it had to be given up; the findings say why.
pub(super) fn read<T: for<'de> Deserialize<'de>>(mut tree: Node, findings: &mut Findings) -> Option<T> {
    for _ in 0..MAX_FAULTS {
        let mut fault = match T::deserialize(Reader(&tree)) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        fault.steps.reverse();
        let at = fault.steps.iter().fold(At::default(), |at, step| match step {
            Step::Key(key) => at.key(key),
            Step::Index(index) => at.index(*index),
        });
        findings.add_unread(&at, fault.what.explain());
        if !take_out(&mut tree, &fault.steps, matches!(fault.what, What::Unknown { .. })) {
            break;
        }
    }
    findings.add(&At::default(), wrong(format!("more than {MAX_FAULTS} values do not fit"), "correct these first"));
    None
}

/// Empties the value at `steps`, or removes its whole entry. False when there was nothing to take.
///
/// An emptied value reads as its kind's zero, so the places of its neighbours stay what they are.
fn take_out(node: &mut Node, steps: &[Step], whole_entry: bool) -> bool {
    let [step, rest @ ..] = steps else {
        let was_null = node.is_null();
        node.kind = Node::NULL;
        return !was_null;
    };
    let place = match (step, &node.kind) {
        (Step::Key(key), Kind::Map(entries)) => entries.iter().position(|(k, _)| k == key),
        (Step::Index(index), Kind::List(items)) => (*index < items.len()).then_some(*index),
        _ => None,
    };
    let Some(place) = place else { return false };
    let inner = match &mut node.kind {
        Kind::Map(entries) => &mut entries[place].1,
        Kind::List(items) => &mut items[place],
        Kind::Scalar { .. } => return false,
    };
    if !(rest.is_empty() && whole_entry) {
        return take_out(inner, rest, whole_entry);
    }
    if let Kind::Map(entries) = &mut node.kind {
        entries.remove(place);
    }
    true
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// One value that does not fit. The steps to it are collected on the way out, the innermost first.
#[derive(Debug)]
struct Fault {
    steps: Vec<Step>,
    what: What,
}

#[derive(Debug)]
enum What {
    Unknown { key: String, known: &'static [&'static str] },
    Kind { found: String, expected: &'static str },
    Other(String),
}

impl What {
    fn explain(&self) -> Wrong {
        match self {
            Self::Unknown { key, known } => {
                let remedy = match nearest(key, known.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                wrong("unknown key", remedy)
            }
            Self::Kind { found, expected } => wrong(format!("found {found}"), format!("write {expected}")),
            Self::Other(text) => wrong(text.clone(), "see docs/configuration.md for what belongs here"),
        }
    }
}

impl Fault {
    fn new(what: What) -> Self {
        Self { steps: Vec::new(), what }
    }

    fn kind(found: impl Into<String>, expected: &'static str) -> Self {
        Self::new(What::Kind { found: found.into(), expected })
    }

    fn under(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(What::Other(text.to_string()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        // The value itself is left out: it may be a secret.
        Self::new(What::Other(format!("not {expected}")))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::Unknown { key: key.to_owned(), known })
    }
}

struct Reader<'a>(&'a Node);

impl Reader<'_> {
    /// The scalar, quoted for an error where a bool or a number belongs.
    fn shown(&self) -> String {
        match &self.0.kind {
            Kind::Scalar { text, plain: true } => format!("`{text}`"),
            Kind::Scalar { text, plain: false } => format!("the quoted text `{text}`"),
            other => other.describe().into_owned(),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Scalar { text, .. } => visitor.visit_str(text),
            Kind::List(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
        }
    }

    /// YAML 1.2's words and, as `blackbox_exporter` does, YAML 1.1's.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Kind::Scalar { text, plain: true } = &self.0.kind {
            match text.as_str() {
                "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
                    return visitor.visit_bool(true);
                }
                "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
                    return visitor.visit_bool(false);
                }
                _ if self.0.is_null() => return visitor.visit_bool(false),
                _ => {}
            }
        }
        Err(Fault::kind(self.shown(), "true or false, without quotes"))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = match &self.0.kind {
            _ if self.0.is_null() => Some(0),
            Kind::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        };
        visitor.visit_i64(number.ok_or_else(|| Fault::kind(self.shown(), "a whole number, without quotes"))?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            _ if self.0.is_null() => visitor.visit_str(""),
            Kind::Scalar { text, .. } => visitor.visit_str(text),
            other => Err(Fault::kind(other.describe(), "a text")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            _ if self.0.is_null() => visitor.visit_seq(Items { items: &[], next: 0 }),
            other => Err(Fault::kind(other.describe(), "a list, such as [one, two]")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.kind {
            Kind::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
            _ if self.0.is_null() => visitor.visit_map(Entries { entries: &[], next: 0 }),
            other => Err(Fault::kind(other.describe(), "a block of keys, such as {key: value}")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(Reader(item)).map(Some).map_err(|fault| fault.under(Step::Index(index)))
    }
}

struct Entries<'a> {
    entries: &'a [(String, Node)],
    next: usize,
}

impl Entries<'_> {
    fn step(&self) -> Step {
        Step::Key(self.entries[self.next].0.clone())
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        seed.deserialize(key.as_str().into_deserializer()).map(Some).map_err(|fault: Fault| fault.under(self.step()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let value = seed.deserialize(Reader(&self.entries[self.next].1)).map_err(|fault| fault.under(self.step()));
        self.next += 1;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        flag: Option<bool>,
        text: Option<String>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        numbers: Option<Vec<i64>>,
        inner: Option<Inner>,
        map: Option<BTreeMap<String, Inner>>,
    }

    fn outer(text: &str) -> (Option<Outer>, Vec<String>) {
        let mut findings = Findings::default();
        let tree = tree::parse(text, &mut findings).unwrap();
        let value = read(tree, &mut findings);
        (value, findings.into_errors(|_| None).iter().map(ToString::to_string).collect())
    }

    #[test]
    fn reads_every_spelling_of_a_bool_and_takes_numbers_as_text() {
        for (text, expected) in [("yes", true), ("On", true), ("true", true), ("NO", false), ("off", false)] {
            let (value, errors) = outer(&format!("inner: {{flag: {text}, text: 12}}"));
            assert_eq!(value.unwrap().inner, Some(Inner { flag: Some(expected), text: Some("12".into()) }));
            assert!(errors.is_empty());
        }
        assert_eq!(outer("numbers:\ninner: ~\n"), (Some(Outer::default()), vec![]));
    }

    #[test]
    fn one_run_reports_everything_that_does_not_fit() {
        let (value, errors) = outer(
            "numbers: [1, x, [2], 3]
inner: {flag: 'true', txt: a, colour: b}
map: {a: [1], b: {flag: 1, text: {}}}
",
        );
        assert_eq!(
            errors,
            [
                "numbers[1]: found `x`; write a whole number, without quotes",
                "numbers[2]: found a list; write a whole number, without quotes",
                "inner.flag: found the quoted text `true`; write true or false, without quotes",
                "inner.txt: unknown key; did you mean `text`?",
                "inner.colour: unknown key; known here: flag, text",
                "map.a: found a list; write a block of keys, such as {key: value}",
                "map.b.flag: found `1`; write true or false, without quotes",
                "map.b.text: found a block of keys; write a text",
            ]
        );
        assert_eq!(value.unwrap().numbers, Some(vec![1, 0, 0, 3]));
    }

    #[test]
    fn a_text_in_the_wrong_place_is_not_quoted() {
        let (_, errors) = outer("inner: hunter2\nmap: hunter2\nnumbers: hunter2\n");
        assert_eq!(errors.len(), 3);
        assert!(!errors.concat().contains("hunter2"), "{errors:?}");
    }

    #[test]
    fn reading_ends_after_many_faults_and_says_so() {
        let (value, errors) = outer(&format!("numbers: [{}]", vec!["x"; MAX_FAULTS + 1].join(", ")));
        assert_eq!(value, None);
        assert_eq!(errors.len(), MAX_FAULTS + 1);
        assert!(errors.concat().contains("correct these first"));
    }

    #[test]
    fn a_root_that_is_no_block_ends_the_reading() {
        let (value, errors) = outer("[1, 2]");
        assert_eq!(value, Some(Outer::default()));
        assert_eq!(errors, ["found a list; write a block of keys, such as {key: value}"]);
    }
}

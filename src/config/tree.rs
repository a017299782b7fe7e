//! YAML text in, a tree of nodes with their lines out: anchors and merge keys resolved, duplicate keys found.
//!
//! Whether a scalar is a number, a bool or a text is left to whoever reads it. Knows nothing of edgeprobe's keys.

use super::error::{At, Findings, wrong};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::{borrow::Cow, collections::HashMap};

/// Deeper nesting is refused; the deepest key of the schema is at 7.
const MAX_DEPTH: usize = 64;
/// More nodes, aliases expanded, are refused: 100,000 targets take 100,000.
const MAX_NODES: usize = 2_000_000;

/// One value of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its line; that of its key when it has one.
    pub(super) line: usize,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A single value; `plain` when written without quotes.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in file order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// No value: `~`, `null` or nothing at all.
    pub(super) const NULL: Kind = Kind::Scalar { text: String::new(), plain: true };

    /// Whether there is no value.
    pub(super) fn is_null(&self) -> bool {
        let Kind::Scalar { text, plain: true } = &self.kind else { return false };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// The line of each place of a file.
#[derive(Debug, Default)]
pub(super) struct Lines(HashMap<String, usize>);

impl Lines {
    /// The lines of `root` and all below it.
    pub(super) fn of(root: &Node) -> Self {
        let mut lines = Self::default();
        lines.add(root, &At::default());
        lines
    }

    /// The line of `path`, or of the nearest enclosing place that stands in the file.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }

    fn add(&mut self, node: &Node, at: &At) {
        self.0.insert(at.as_str().to_owned(), node.line);
        match &node.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.iter().enumerate().for_each(|(i, item)| self.add(item, &at.index(i))),
            Kind::Map(entries) => entries.iter().for_each(|(key, value)| self.add(value, &at.key(key))),
        }
    }
}

/// Parses one document. `None` when the text is not YAML or has no document; the findings say why.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, findings };
    match builder.document() {
        Ok(root) => root,
        Err(error) => {
            let problem = format!("not YAML: {}", error.info());
            let remedy = "check indentation, quotes and brackets up to this line";
            findings.add_at_line(&At::default(), error.marker().line(), wrong(problem, remedy));
            None
        }
    }
}

struct Builder<'a, 'f> {
    parser: Parser<'a, StrInput<'a>>,
    /// Each anchored node and how many nodes it is.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    findings: &'f mut Findings,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Option<Node>, ScanError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let remedy =
                        "keep one document per file: remove this `---` and what follows, or merge it into the first";
                    self.findings.add_at_line(
                        &At::default(),
                        span.start.line(),
                        wrong("a second YAML document", remedy),
                    );
                    break;
                }
                Event::DocumentStart(_) => {
                    let first = self.next()?;
                    root = Some(self.node(first, &At::default(), 0)?);
                }
                _ => {}
            }
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), ScanError> {
        let end = || ScanError::new_str(saphyr_parser::Marker::default(), "the text ends too early");
        self.parser.next().unwrap_or_else(|| Err(end()))
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), at: &At, depth: usize) -> Result<Node, ScanError> {
        let line = span.start.line();
        let too_much = |info: &str| Err(ScanError::new_str(span.start, info));
        let before = self.nodes;
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return too_much("nested too deeply");
        }
        let (kind, anchor) = match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    return too_much("an alias inside the value it stands for");
                };
                self.nodes += size;
                (node.kind.clone(), 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.is_text_tag(tag.as_deref(), at, line);
                (Kind::Scalar { text: text.into_owned(), plain }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.is_text_tag(tag.as_deref(), at, line);
                (Kind::List(self.list(at, depth)?), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.is_text_tag(tag.as_deref(), at, line);
                (Kind::Map(self.map(at, depth)?), anchor)
            }
            _ => return too_much("a value is missing"),
        };
        if self.nodes > MAX_NODES {
            return too_much("too many values once aliases are expanded");
        }
        let node = Node { line, kind };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn list(&mut self, at: &At, depth: usize) -> Result<Vec<Node>, ScanError> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(next, &at.index(items.len()), depth + 1)?);
        }
    }

    fn map(&mut self, at: &At, depth: usize) -> Result<Vec<(String, Node)>, ScanError> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut first_lines: HashMap<String, usize> = HashMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(ScanError::new_str(span.start, "a key is not a plain text")),
            };
            let (place, line) = (at.key(&key), span.start.line());
            let next = self.next()?;
            let value = Node { line, ..self.node(next, &place, depth + 1)? };
            if let Some(first) = first_lines.get(&key) {
                let problem = format!("the key stands here a second time, after line {first}");
                self.findings.add_at_line(&place, line, wrong(problem, "keep one of the two"));
                continue;
            }
            first_lines.insert(key.clone(), line);
            if plain && key == "<<" { merged = self.merge_sources(value, &place) } else { entries.push((key, value)) }
        }
        for (key, value) in merged {
            if !first_lines.contains_key(&key) {
                first_lines.insert(key.clone(), value.line);
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// The entries that a merge key brings in, the earlier map first.
    fn merge_sources(&mut self, value: Node, at: &At) -> Vec<(String, Node)> {
        match value.kind {
            Kind::Map(entries) => entries,
            Kind::List(maps) if maps.iter().all(|m| matches!(m.kind, Kind::Map(_))) => {
                maps.into_iter().flat_map(|map| self.merge_sources(map, at)).collect()
            }
            _ => {
                let problem = "a merge key takes a map or a list of maps";
                self.findings.add_at_line(at, value.line, wrong(problem, "write `<<: *name` with an anchored map"));
                Vec::new()
            }
        }
    }

    /// Whether the tag says that the value is a text. Tags of applications mean nothing here and are refused.
    fn is_text_tag(&mut self, tag: Option<&Tag>, at: &At, line: usize) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema() {
            let problem = "a YAML tag that means nothing here";
            self.findings.add_at_line(at, line, wrong(problem, "put the value in quotes if it starts with `!`"));
        }
        tag.suffix == "str"
    }
}

impl Kind {
    /// What stands here, for errors; never the value itself.
    pub(super) fn describe(&self) -> Cow<'static, str> {
        match self {
            Self::Scalar { .. } => "a single value".into(),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a block of keys".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Option<Node>, Vec<String>) {
        let mut findings = Findings::default();
        let node = parse(text, &mut findings);
        let show = |e: super::super::ConfigError| format!("{}:{} {}", e.line.unwrap_or_default(), e.path, e.problem);
        (node, findings.into_errors(|_| None).into_iter().map(show).collect())
    }

    #[test]
    fn every_place_knows_its_line() {
        let (node, errors) = tree("a:\n  b:\n    - x\n    - c: y\nd: &n\n  e: 1\nf:\n  <<: *n\n  g: 2\n");
        assert!(errors.is_empty());
        let lines = Lines::of(&node.unwrap());
        for (path, line) in
            [("a", 1), ("a.b", 2), ("a.b[0]", 3), ("a.b[1].c", 4), ("f.e", 6), ("f.g", 9), ("f.zz.y", 7)]
        {
            assert_eq!(lines.line_of(path), Some(line), "{path}");
        }
        assert_eq!(lines.line_of("nowhere"), None);
    }

    #[test]
    fn duplicate_keys_are_found_at_any_level() {
        let (_, errors) = tree("a: 1\nb:\n- {c: 1, c: 2}\na: 3\n");
        assert_eq!(
            errors,
            [
                "3:b[0].c the key stands here a second time, after line 3",
                "4:a the key stands here a second time, after line 1"
            ]
        );
    }

    #[test]
    fn an_explicit_key_wins_over_a_merged_one() {
        let (node, errors) = tree("x: &x {a: 1, b: 2}\ny:\n  <<: [*x, {b: 3, c: 4}]\n  a: 9\n");
        assert!(errors.is_empty());
        let text = format!("{:?}", node.unwrap().kind);
        let y = &text[text.find("\"y\"").unwrap()..];
        for (key, value) in [("a", 9), ("b", 2), ("c", 4)] {
            assert!(y.contains(&format!("(\"{key}\", Node {{ line: ")), "{y}");
            assert!(y.contains(&format!("text: \"{value}\"")), "{y}");
        }
        assert!(!y.contains("text: \"1\"") && !y.contains("text: \"3\""), "{y}");
    }

    #[test]
    fn bombs_and_deep_nesting_end_early() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&["a", &i.to_string(), ": &a", &i.to_string(), " [", &aliases, "]\n"].concat());
        }
        assert!(tree(&bomb).1[0].contains("too many values"));
        assert!(tree(&("[".repeat(100) + &"]".repeat(100))).1[0].contains("too deeply"));
    }

    #[test]
    fn an_unfinished_text_names_its_line() {
        let (node, errors) = tree("a:\n  b: [1, 2\nc: 3\n");
        assert!(node.is_none());
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("not YAML"), "{errors:?}");
    }
}

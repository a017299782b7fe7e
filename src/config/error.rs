//! What is wrong with a config file: each problem with its place, its line and what would be right.
//!
//! Knows neither YAML nor the model. No text in here may hold a secret; those who report take care of it.

use std::{fmt, io};

/// Every problem of one config file, in file order. Displays as one line per problem.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors {
    /// The file, as the user named it.
    pub file: String,
    /// The problems; at least one.
    pub errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The file could not be read at all.
    pub fn unreadable(file: &str, error: &io::Error) -> Self {
        let remedy = "check the path and its permissions, or leave the flag out to use the embedded default";
        Self::unreadable_file(file, error, remedy)
    }

    /// The same of a file that has another remedy.
    pub fn unreadable_file(file: &str, error: &io::Error, remedy: &str) -> Self {
        let error = ConfigError {
            path: String::new(),
            line: None,
            problem: format!("cannot read it: {error}"),
            remedy: remedy.into(),
        };
        Self { file: file.to_owned(), errors: vec![error] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
            write!(f, "{end}{}{line}: {error}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One problem. Displays as `path: problem; remedy`, without the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The place, such as `modules.api.http.method`; empty for the file as a whole.
    pub path: String,
    /// The line in the file.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What would be right; may be empty.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sep = if self.path.is_empty() { "" } else { ": " };
        let end = if self.remedy.is_empty() { "" } else { "; " };
        write!(f, "{}{sep}{}{end}{}", self.path, self.problem, self.remedy)
    }
}

/// A place in the file, spelled as errors spell it: `jobs[0].retry.attempts`.
#[derive(Clone, Debug, Default)]
pub(super) struct At(String);

impl At {
    /// The place of `key` in the map at this place.
    pub(super) fn key(&self, key: &str) -> Self {
        if self.0.is_empty() { Self(key.to_owned()) } else { Self(format!("{}.{key}", self.0)) }
    }

    /// The place of the list entry `index` at this place.
    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// As errors spell it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is wrong with a value, whatever its place.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The problem.
    pub(super) problem: String,
    /// What would be right.
    pub(super) remedy: String,
}

/// A [`Wrong`] of its two parts.
pub(super) fn wrong(problem: impl Into<String>, remedy: impl Into<String>) -> Wrong {
    Wrong { problem: problem.into(), remedy: remedy.into() }
}

/// The problems found so far.
#[derive(Default)]
pub(super) struct Findings {
    errors: Vec<ConfigError>,
    unread: Vec<String>,
}

impl Findings {
    /// Notes a problem, unless the value at `at` could not be read in the first place: its emptiness is no second one.
    pub(super) fn add(&mut self, at: &At, wrong: Wrong) {
        if !self.unread.iter().any(|outer| encloses(outer, at.as_str())) {
            self.push(at, None, wrong);
        }
    }

    /// Notes a problem of the YAML itself, whose line is known.
    pub(super) fn add_at_line(&mut self, at: &At, line: usize, wrong: Wrong) {
        self.push(at, Some(line), wrong);
    }

    /// Notes that the value at `at` is not of the kind that belongs there and was left out.
    pub(super) fn add_unread(&mut self, at: &At, wrong: Wrong) {
        self.push(at, None, wrong);
        self.unread.push(at.as_str().to_owned());
    }

    /// The value, or nothing and a note of the problem.
    pub(super) fn take<T>(&mut self, at: &At, result: Result<T, Wrong>) -> Option<T> {
        result.map_err(|wrong| self.add(at, wrong)).ok()
    }

    /// Whether nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The problems with their lines, in file order.
    pub(super) fn into_errors(mut self, line_of: impl Fn(&str) -> Option<usize>) -> Vec<ConfigError> {
        for error in &mut self.errors {
            error.line = error.line.or_else(|| line_of(&error.path));
        }
        self.errors.sort_by_key(|error| error.line);
        self.errors
    }

    fn push(&mut self, at: &At, line: Option<usize>, wrong: Wrong) {
        let Wrong { problem, remedy } = wrong;
        self.errors.push(ConfigError { path: at.as_str().to_owned(), line, problem, remedy });
    }
}

fn encloses(outer: &str, path: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The word of `known` that `word` most likely stands for, if any comes close.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| edits(word, candidate) <= candidate.len().min(word.len()) / 3;
    known.into_iter().filter(near).min_by_key(|candidate| edits(word, candidate))
}

/// The Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_as_in_the_file() {
        let at = At::default().key("modules").key("api").key("http").key("fail_if_body_matches_regexp").index(1);
        assert_eq!(at.as_str(), "modules.api.http.fail_if_body_matches_regexp[1]");
    }

    #[test]
    fn what_could_not_be_read_is_reported_once() {
        let mut findings = Findings::default();
        let at = At::default().key("a");
        findings.add_unread(&at, wrong("a list", "a text"));
        findings.add(&at, wrong("empty", "fill it"));
        findings.add(&at.key("b"), wrong("missing", "add it"));
        findings.add(&At::default().key("ab"), wrong("missing", "add it"));
        let paths: Vec<_> = findings.into_errors(|_| None).into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["a", "ab"]);
    }

    #[test]
    fn the_nearest_word_is_found_when_one_is_near() {
        assert_eq!(nearest("methd", ["method", "headers"]), Some("method"));
        assert_eq!(nearest("colour", ["method", "headers"]), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}

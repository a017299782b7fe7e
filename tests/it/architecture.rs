//! The rules of the house: who may import whom, what every file begins with, and that whatever names a metric, a reason or
//! a flag names one that exists.

use crate::world::edgeprobe;
use edgeprobe::{metrics::CATALOGUE, model::Reason};
use regex::Regex;
use serde_yaml::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each top module and what it may import; itself always.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("probe", &["model"]),
    ("metrics", &["model"]),
    ("board", &["model"]),
    ("show", &["model"]),
    ("lab", &[]),
    ("engine", &["model", "probe"]),
    ("schedule", &["model", "engine", "board"]),
    ("server", &["model", "engine", "board", "metrics", "show"]),
    ("app", &["model", "config", "engine", "board", "schedule", "metrics", "server", "show"]),
    ("cli", &["app", "config", "engine", "lab", "model", "server", "show"]),
    ("fuzzing", &["config", "probe"]),
    ("main", &[]),
    ("lib", &[]),
];

/// Longer files want to be two.
const MOST_LINES: usize = 700;

/// A file of `src`, with its test code cut off.
struct Source {
    /// The top module it belongs to.
    module: String,
    path: PathBuf,
    text: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let all = files(&root().join("src"), ".rs");
    assert!(all.len() > 50, "only {} files were found: the search is wrong", all.len());
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let only_tests = Regex::new(r"#\[cfg\(test\)\]\nmod (\w+);").unwrap();
    let mut test_files = BTreeSet::new();
    for parent in &all {
        for found in only_tests.captures_iter(&read(parent)) {
            let file = format!("{}.rs", &found[1]);
            test_files.insert(parent.with_extension("").join(&file));
            test_files.insert(parent.with_file_name(file));
        }
    }
    let tests = Regex::new(r"#\[cfg\((?:test|all\(test, .*\))\)\]\nmod tests \{").unwrap();
    let source = |path: PathBuf| {
        let text = read(&path);
        let relative = path.strip_prefix(root().join("src")).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let in_use = tests.split(&text).next().unwrap();
        let code = in_use.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let code = if test_files.contains(&path) { String::new() } else { code };
        Source { module, path, text, code }
    };
    all.into_iter().map(source).collect()
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let import = Regex::new(r"\bcrate::(\w+)").unwrap();
    let table: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut faults = Vec::new();
    for Source { module, path, code, .. } in sources() {
        let Some(allowed) = table.get(module.as_str()) else {
            faults.push(format!("{}: the module `{module}` is not in the table", path.display()));
            continue;
        };
        for found in import.captures_iter(&code) {
            let name = &found[1];
            if name != module && !allowed.contains(&name) {
                faults.push(format!("{}: `{module}` must not import `{name}`", path.display()));
            }
        }
        if code.contains("crate::{") {
            faults.push(format!("{}: one name after `crate::` for each `use`, so that it can be read", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_probe_does_not_know_that_metrics_exist() {
    for Source { path, code, .. } in sources().iter().filter(|source| source.module == "probe") {
        assert!(!code.contains("metric") && !code.contains("prometheus"), "{}", path.display());
    }
}

#[test]
fn every_file_opens_with_its_contract_and_stays_short() {
    for Source { path, text, .. } in sources() {
        let lines = text.lines().count();
        assert!(text.starts_with("//! "), "{} does not open with what it is for", path.display());
        assert!(lines <= MOST_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_library_neither_prints_nor_panics_by_habit() {
    let habits = [
        ".unwrap()",
        "println!",
        "print!(",
        "dbg!(",
        "todo!(",
        "unimplemented!(",
        "unsafe ",
        "#[allow",
        concat!("#[", "ignore"),
    ];
    for Source { path, code, .. } in sources() {
        for habit in habits {
            assert!(!code.contains(habit), "{}: {habit}", path.display());
        }
    }
}

/// The names that Prometheus or its rules make from ours.
fn known_metrics() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
    for metric in CATALOGUE {
        names.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name)));
        names.insert(format!("{}_total", metric.name));
    }
    names
}

#[test]
fn dashboards_and_rules_name_only_metrics_that_exist() {
    let known = known_metrics();
    let name = Regex::new(r"\b(?:probe|process|edgeprobe|blackbox)_[a-z0-9_]+\b").unwrap();
    for (place, ending) in [("dashboards", ".json"), ("config/prometheus", ".yml")] {
        let mut found = 0;
        for path in files(&root().join(place), ending) {
            // JSON is YAML.
            let mut queries = Vec::new();
            collect(&serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap(), &mut queries);
            for name in queries.iter().flat_map(|query| name.find_iter(query)) {
                found += 1;
                assert!(known.contains(name.as_str()), "{}: there is no {}", path.display(), name.as_str());
            }
        }
        assert!(found > 20, "only {found} names were found in {place}: the search is wrong");
    }
}

/// Every query in a dashboard, a rule or the test of one.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Sequence(items) => items.iter().for_each(|item| collect(item, queries)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                match (key.as_str(), value.as_str()) {
                    (Some("expr" | "query" | "definition" | "series"), Some(query)) => queries.push(query.to_owned()),
                    _ => collect(value, queries),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn the_docs_explain_every_reason_and_every_metric() {
    let reasons = fs::read_to_string(root().join("docs/reasons.md")).unwrap();
    for reason in Reason::ALL {
        assert!(reasons.contains(&format!("`{reason}`")), "docs/reasons.md lacks {reason}");
    }
    let metrics = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    for metric in CATALOGUE {
        assert!(metrics.contains(metric.name), "docs/metrics.md lacks {}", metric.name);
    }
}

/// (`blackbox_exporter` #1477)
#[tokio::test]
async fn the_readme_names_only_flags_that_exist() {
    let Ok(readme) = fs::read_to_string(root().join("README.md")) else { return };
    let mut help = String::new();
    for command in [&["serve", "--help"][..], &["probe", "--help"], &["demo", "--help"], &["healthcheck", "--help"]] {
        help += &edgeprobe(command).await.stdout;
    }
    let flag = Regex::new(r"edgeprobe[^\n`]*?(--[a-z][a-z.-]+)").unwrap();
    for found in flag.captures_iter(&readme) {
        assert!(help.contains(&found[1]), "README.md: there is no flag {}", &found[1]);
    }
}

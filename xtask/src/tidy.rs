//! The rules of the house style that a program can check, over every file of the repository.
//!
//! Line by line and without parsing Rust: a rule that needs more belongs into a lint.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::layers;

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, from the repository's root.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Lines of a source file before its tests.
const LINES_MAX: usize = 500;
const MODULES_FORBIDDEN: [&str; 5] = ["utils", "helpers", "common", "misc", "types"];
const SUFFIXES_FORBIDDEN: [&str; 8] =
    ["Manager", "Handler", "Helper", "Processor", "Data", "Info", "Impl", "Inner"];
/// Folders that are not ours or not source.
const SKIPPED: [&str; 6] = ["target", ".git", ".cache", "data", "node_modules", "fixtures"];

/// Every breach in the repository at `root`, by file and line.
///
/// # Errors
/// When a file or folder cannot be read.
pub fn findings(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let path = file.strip_prefix(root).unwrap_or(&file);
        let found = check(path, &text).into_iter();
        findings.extend(found.map(|(line, message)| Finding { path: path.to_owned(), line, message }));
    }
    Ok(findings)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", folder.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED.contains(&name) {
                collect(&path, files)?;
            }
        } else if name != "Cargo.lock" {
            files.push(path);
        }
    }
    Ok(())
}

/// What is wrong with one file: lines and messages.
#[must_use]
pub fn check(path: &Path, text: &str) -> Vec<(usize, String)> {
    let mut wrong = any_file(text);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let of_crate = crate_name(path);
    if path.extension().is_some_and(|extension| extension == "rs") {
        wrong.extend(file_name(name, of_crate));
        if path.components().all(|part| part.as_os_str() != "tests") {
            wrong.extend(length(text));
        }
        wrong.extend(rust(text));
    }
    if name == "Cargo.toml"
        && let Some(of_crate) = of_crate
    {
        wrong.extend(layers::check(of_crate, text));
    }
    wrong
}

/// The crate that a path under `crates/` belongs to.
fn crate_name(path: &Path) -> Option<&str> {
    let rest = path.strip_prefix("crates").ok()?;
    rest.components().next()?.as_os_str().to_str()
}

/// Paths of a machine and promises without an issue, in whatever text.
fn any_file(text: &str) -> Vec<(usize, String)> {
    let machine = [concat!("/", "work/"), concat!("/", "root/")];
    let promise = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut wrong = Vec::new();
    for (line, text) in numbered(text) {
        if let Some(path) = machine.iter().find(|path| text.contains(*path)) {
            wrong.push((line, format!("`{path}` is a path of one machine")));
        }
        for word in promise {
            let bare = text.match_indices(word).any(|(at, _)| !text[at + word.len()..].starts_with("(#"));
            if bare {
                wrong.push((line, format!("`{word}` without an issue; write `{word}(#123)` or do it")));
            }
        }
    }
    wrong
}

fn file_name(name: &str, of_crate: Option<&str>) -> Option<(usize, String)> {
    if name == "mod.rs" {
        return Some((1, "a module's file is `foo.rs` beside `foo/`, not `foo/mod.rs`".to_owned()));
    }
    let module = name.strip_suffix(".rs")?;
    // ClickHouse's types are what that crate is about.
    let spared = module == "types" && of_crate == Some("native");
    let forbidden = MODULES_FORBIDDEN.contains(&module) && !spared;
    forbidden.then(|| (1, format!("a module named `{module}` says nothing about what is in it")))
}

fn length(text: &str) -> Option<(usize, String)> {
    let lines = numbered(text).take_while(|(_, line)| line.trim() != "#[cfg(test)]").count();
    let message = format!("{lines} lines before the tests; expected at most {LINES_MAX}");
    (lines > LINES_MAX).then_some((LINES_MAX + 1, message))
}

fn rust(text: &str) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    let mut test = false;
    for (line, text) in numbered(text) {
        let text = text.trim_start();
        if text.starts_with("//") {
            continue;
        }
        if let Some(name) = declared(text, &["struct", "enum", "union", "trait", "type"])
            && let Some(suffix) = SUFFIXES_FORBIDDEN.iter().find(|suffix| name.ends_with(*suffix))
        {
            wrong.push((line, format!("type `{name}`: `{suffix}` says nothing about what it is")));
        }
        if text.starts_with("#[allow(") || text.starts_with("#![allow(") {
            wrong.push((line, "a lint is silenced by `#[expect(.., reason = \"..\")]`".to_owned()));
        }
        if test && let Some(name) = declared(text, &["fn"]) {
            if name.starts_with("test_") {
                wrong.push((line, format!("test `{name}`: a test's name is what it claims")));
            }
            test = false;
        }
        test |= text.starts_with("#[test]") || text.starts_with("#[tokio::test");
    }
    wrong
}

/// The name that the line declares with one of `keywords`.
fn declared<'a>(line: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || matches!(*word, "unsafe" | "async" | "const" | "extern")
    });
    let keyword = words.next()?;
    let name = words.next()?.split(|char: char| !(char.is_alphanumeric() || char == '_')).next()?;
    (keywords.contains(&keyword) && !name.is_empty()).then_some(name)
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

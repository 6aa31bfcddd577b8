//! Texts to a checked catalog: the root file and what it includes, merged, read and checked.

mod sound;

use std::io;
use std::path::Path;

use tidegate_yaml::node::{self, Entry, Node, NodeKind};
use tidegate_yaml::reading::{Found, Reading};
use tidegate_yaml::shape::{Shape, quoted};
use tidegate_yaml::{Diagnostics, Mistake, Position};

use crate::catalog::Catalog;
use crate::check;
use crate::language::CatalogFile;

/// A catalog of a thousand events has some dozens of files.
const FILES_MAX: usize = 200;
/// All files together. One file is bounded by the reader of YAML.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A catalog with the files that it is made of.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The catalog.
    pub catalog: Catalog,
    /// The files as they were named, the root first.
    pub files: Vec<String>,
}

/// Reads the catalog at `root`. `read` gives the bytes of a file; it is asked for `root` and for files in
/// its folder or below, and should give no more than [`node::BYTES_MAX`] bytes and one.
///
/// # Errors
/// Every mistake, over all files.
pub fn load(root: &str, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> Result<Loaded, Diagnostics> {
    let mut files = Files { read, names: Vec::new(), open: Vec::new(), n_bytes: 0, found: Vec::new() };
    let merged = files.gather(root, Position::START);
    let mut cx = Reading { surroundings: None, folder: Path::new(""), found: files.found };
    let catalog = merged.and_then(|merged| match CatalogFile::read(&merged, &mut cx) {
        Some(file) => Some(check::check(file, &mut cx)),
        None => {
            check_sound(merged, &mut cx);
            None
        }
    });
    match catalog {
        Some(catalog) if cx.found.is_empty() => Ok(Loaded { catalog, files: files.names }),
        Some(_) | None => Err(Diagnostics::new(&files.names, cx.found)),
    }
}

/// Checks what can be read of a catalog that has parts which cannot be, for more mistakes of its names. What may
/// follow from those parts is not told.
fn check_sound(mut tree: Node, cx: &mut Reading<'_>) {
    let n_told = cx.found.len();
    let places: Vec<Position> = cx.found.iter().map(|found| found.at).collect();
    let Some(gone) = sound::without(&mut tree, &places) else { return };
    let mut again = Reading { surroundings: None, folder: Path::new(""), found: Vec::new() };
    let Some(file) = CatalogFile::read(&tree, &mut again) else { return };
    check::check(file, cx);
    let told = cx.found.drain(n_told..).filter(|found| !sound::follows(&found.message, &gone));
    let told: Vec<Found> = told.collect();
    cx.found.extend(told);
}

struct Files<'a> {
    read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    names: Vec<String>,
    /// The files that include one another down to the one that is being read.
    open: Vec<String>,
    n_bytes: usize,
    found: Vec<Found>,
}

impl Files<'_> {
    fn report(&mut self, code: Mistake, at: Position, message: String, hint: Option<&str>) {
        self.found.push(Found { code, at, message, hint: hint.map(str::to_owned) });
    }

    /// The file with everything that it includes; `at` is where it is named.
    fn gather(&mut self, name: &str, at: Position) -> Option<Node> {
        let file = self.names.len();
        if file == 0 {
            // A mistake of the root has no other file to stand in.
            self.names.push(name.to_owned());
        }
        let bytes = match (self.read)(name) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.report(Mistake::Unreadable, at, format!("read `{name}`: {error}"), None);
                return None;
            }
        };
        if file > 0 {
            self.names.push(name.to_owned());
        }
        self.n_bytes += bytes.len();
        if self.n_bytes > BYTES_MAX {
            let message = format!("the catalog's files have more than {BYTES_MAX} bytes");
            self.report(Mistake::TooLarge, at, message, None);
            return None;
        }
        let text = self.text(file, &bytes)?;
        let (tree, found) = node::parse(file, text);
        self.found.extend(found);
        let mut tree = tree?;
        self.open.push(name.to_owned());
        self.include(name, &mut tree);
        self.open.pop();
        Some(tree)
    }

    fn text<'b>(&mut self, file: usize, bytes: &'b [u8]) -> Option<&'b str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
                let hint = Some("save the file as UTF-8");
                let message = "not UTF-8".to_owned();
                self.report(Mistake::Syntax, Position { file, line, column }, message, hint);
                None
            }
        }
    }

    /// Takes `include` out of the tree and puts in what it names.
    fn include(&mut self, name: &str, tree: &mut Node) {
        let NodeKind::Map(entries) = &mut tree.kind else { return };
        let Some(index) = entries.iter().position(|entry| entry.key == "include") else { return };
        let included = entries.remove(index).value;
        let NodeKind::List(items) = included.kind else {
            let message = format!("`include` is a list of files, found {}", included.kind_name());
            self.report(Mistake::WrongType, included.at, message, Some("put it in brackets: `[..]`"));
            return;
        };
        for item in items {
            if let Some(part) = self.part(name, &item) {
                self.merge(tree, part);
            }
        }
    }

    fn part(&mut self, name: &str, item: &Node) -> Option<Node> {
        let NodeKind::Text(path) = &item.kind else {
            let message = format!("expected a file's name, found {}", item.kind_name());
            self.report(Mistake::WrongType, item.at, message, None);
            return None;
        };
        let inside = !path.is_empty()
            && path.split('/').all(|part| !part.is_empty() && part != ".." && part != ".")
            && !path.contains(['\\', '\0', ':']);
        if !inside {
            let message = format!("{} is not a file in the catalog's folder", quoted(path));
            let hint = Some("write a path such as `events/video.yaml`, without `..`");
            self.report(Mistake::BadValue, item.at, message, hint);
            return None;
        }
        let full = match name.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{path}"),
            None => path.clone(),
        };
        if let Some(index) = self.open.iter().position(|open| *open == full) {
            let mut way = self.open[index..].to_vec();
            way.push(full);
            self.report(
                Mistake::Cycle,
                item.at,
                format!("files include one another: {}", way.join(" -> ")),
                None,
            );
            return None;
        }
        if self.names.contains(&full) {
            let message = format!("`{full}` is included already");
            self.report(Mistake::Conflict, item.at, message, Some("include each file once"));
            return None;
        }
        if self.names.len() >= FILES_MAX {
            self.report(Mistake::TooLarge, item.at, format!("more than {FILES_MAX} files"), None);
            return None;
        }
        self.gather(&full, item.at)
    }

    /// Puts the sections of `part` into those of `tree`. Mappings and lists grow; nothing is overridden.
    fn merge(&mut self, tree: &mut Node, part: Node) {
        let at = part.at;
        match (&mut tree.kind, part.kind) {
            (_, NodeKind::Nothing) => {}
            (NodeKind::Map(sections), NodeKind::Map(more)) => {
                for entry in more {
                    match sections.iter_mut().find(|section| section.key == entry.key) {
                        None => sections.push(entry),
                        Some(section) => self.merge_section(section, entry),
                    }
                }
            }
            (_, kind) => {
                let found = Node::new(at, kind);
                let message =
                    format!("an included file is a mapping of sections, found {}", found.kind_name());
                self.report(Mistake::WrongType, at, message, None);
            }
        }
    }

    fn merge_section(&mut self, section: &mut Entry, more: Entry) {
        match (&mut section.value.kind, more.value.kind) {
            (_, NodeKind::Nothing) => {}
            (nothing @ NodeKind::Nothing, kind) => *nothing = kind,
            (NodeKind::List(items), NodeKind::List(others)) => items.extend(others),
            (NodeKind::Map(entries), NodeKind::Map(others)) => {
                let taken: std::collections::HashMap<String, Position> =
                    entries.iter().map(|entry| (entry.key.clone(), entry.key_at)).collect();
                for other in others {
                    match taken.get(&other.key) {
                        None => entries.push(other),
                        Some(first) => self.twice(&section.key, &other, *first),
                    }
                }
            }
            (NodeKind::Text(_) | NodeKind::List(_) | NodeKind::Map(_), _) => {
                let message = format!("`{}` stands in another file already", more.key);
                let hint = Some("say it in the file that includes the others");
                self.report(Mistake::DuplicateKey, more.key_at, message, hint);
            }
        }
    }

    fn twice(&mut self, section: &str, entry: &Entry, first: Position) {
        let file = self.names.get(first.file).cloned().unwrap_or_default();
        let message = format!("{} stands twice under `{section}`", quoted(&entry.key));
        let hint = format!("the first is at {file}:{}:{}", first.line, first.column);
        self.report(Mistake::DuplicateKey, entry.key_at, message, Some(&hint));
    }
}

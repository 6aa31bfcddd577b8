//! Where the engine's code is: `libchdb.so`, or a `clickhouse` binary if one is named.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// The environment variable that names the library.
pub const LIBRARY_ENV: &str = "TIDEGATE_ENGINE_LIB";

/// The pinned version; it names the folder that `scripts/fetch-engine` fills.
const VERSION: &str = "26.7.3";

/// A ClickHouse that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineLibrary {
    /// `libchdb.so` of npm package `@chdb/lib-linux-x64-gnu` 26.7.3 (older ones have no listeners).
    Chdb(PathBuf),
    /// A `clickhouse` binary, 26.7 or newer.
    Binary(PathBuf),
}

/// There is no engine to run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LibraryError {
    /// A path was stated, and there is no file.
    #[error("engine `{}`, named by {named_by}, is not a file", path.display())]
    Absent {
        /// The path.
        path: PathBuf,
        /// What named it.
        named_by: &'static str,
    },
    /// Nothing was stated, and no usual place has it.
    #[error(
        "libchdb.so is in none of {}; scripts/fetch-engine fetches it, {LIBRARY_ENV} names another",
        places(searched)
    )]
    NotFound {
        /// The places, in the order in which they were looked at.
        searched: Vec<PathBuf>,
    },
}

fn places(searched: &[PathBuf]) -> String {
    searched.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

impl EngineLibrary {
    /// Finds the engine: `stated`, else the file that [`LIBRARY_ENV`] names, else `libchdb.so` beside the
    /// executable, in `.cache/engine` of the working folder or of a folder above the executable, or in
    /// `$XDG_DATA_HOME/tidegate/engine`. A file whose name starts with `clickhouse` is a binary.
    ///
    /// # Errors
    /// When the stated file is absent, or nothing is stated and no place has the library.
    pub fn find(stated: Option<&Path>) -> Result<Self, LibraryError> {
        let env = std::env::var_os(LIBRARY_ENV).filter(|value| !value.is_empty()).map(PathBuf::from);
        let stated = stated.map(|path| (path.to_owned(), "the configuration"));
        match stated.or_else(|| env.map(|path| (path, LIBRARY_ENV))) {
            Some((path, _)) if path.is_file() => {
                // The engine's process may have another working folder one day; a full path cannot stray.
                let path = std::path::absolute(&path).unwrap_or(path);
                Ok(Self::at(path))
            }
            Some((path, named_by)) => Err(LibraryError::Absent { path, named_by }),
            None => {
                let searched = usual_places();
                let found = searched.iter().find(|path| path.is_file()).cloned();
                found.map(Self::Chdb).ok_or(LibraryError::NotFound { searched })
            }
        }
    }

    fn at(path: PathBuf) -> Self {
        let binary = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("clickhouse") && !name.contains(".so"));
        if binary { Self::Binary(path) } else { Self::Chdb(path) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Chdb(path) | Self::Binary(path) => path,
        }
    }
}

fn usual_places() -> Vec<PathBuf> {
    let cached = Path::new(".cache/engine").join(VERSION).join("libchdb.so");
    let exe = std::env::current_exe().ok();
    let mut places = Vec::new();
    places.extend(exe.as_deref().and_then(Path::parent).map(|dir| dir.join("libchdb.so")));
    if let Ok(cwd) = std::env::current_dir() {
        // Tests run in their crate's folder, so the folders above count as well.
        places.extend(cwd.ancestors().map(|dir| dir.join(&cached)));
    }
    if let Some(exe) = &exe {
        places.extend(exe.ancestors().skip(1).map(|dir| dir.join(&cached)));
    }
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    let share = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    places.extend(share.or_else(home).map(|dir| dir.join("tidegate/engine/libchdb.so")));
    let mut seen = std::collections::HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_file_that_is_absent_is_refused_by_name() {
        let missing = Path::new("/nowhere/libchdb.so");
        let error = EngineLibrary::find(Some(missing)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "engine `/nowhere/libchdb.so`, named by the configuration, is not a file"
        );
    }

    #[test]
    fn only_a_file_named_like_the_binary_is_run_as_one() {
        assert_eq!(EngineLibrary::at("/x/clickhouse".into()), EngineLibrary::Binary("/x/clickhouse".into()));
        assert_eq!(
            EngineLibrary::at("/x/clickhouse-26.7".into()),
            EngineLibrary::Binary("/x/clickhouse-26.7".into())
        );
        assert_eq!(EngineLibrary::at("/x/libchdb.so".into()), EngineLibrary::Chdb("/x/libchdb.so".into()));
        assert_eq!(
            EngineLibrary::at("/x/clickhouse.so".into()),
            EngineLibrary::Chdb("/x/clickhouse.so".into())
        );
    }
}

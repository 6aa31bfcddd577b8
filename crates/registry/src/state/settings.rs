//! Settings and modes by scope: what is not said for a subject is said for its context, or for all.

use std::collections::BTreeMap;

use crate::entity::{Config, Level, Mode};
use crate::state::State;
use crate::subject::{DEFAULT_CONTEXT, GLOBAL_SCOPE, Subject};

impl State {
    /// The settings of exactly this scope.
    #[must_use]
    pub fn own_config(&self, scope: &str) -> Option<&Config> {
        self.configs.get(scope)
    }

    /// The mode of exactly this scope.
    #[must_use]
    pub fn own_mode(&self, scope: &str) -> Option<Mode> {
        self.modes.get(scope).copied()
    }

    /// The subjects and contexts inside of a scope, itself excluded, that have a mode of their own.
    pub fn modes_inside(&self, scope: &Subject) -> impl Iterator<Item = &str> {
        let inside = |name: &&String| {
            let other = Subject::parse(name, DEFAULT_CONTEXT);
            scope.name().is_empty() && other.context() == scope.context() && !other.name().is_empty()
        };
        self.modes.keys().filter(inside).map(String::as_str)
    }

    /// The qualified subjects that stand for others, by those that they stand for.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, Vec<&str>> {
        let mut aliases: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for alias in self.configs.keys() {
            if let Some(target) = self.alias(&Subject::parse(alias, DEFAULT_CONTEXT)) {
                aliases.entry(target.qualified()).or_default().push(alias);
            }
        }
        aliases
    }

    /// The settings that hold for a subject or, without a name, for its context.
    #[must_use]
    pub fn config(&self, subject: &Subject) -> Config {
        let builtin = Config { compatibility_level: Some(Level::Backward), ..Config::default() };
        let scopes = scopes(subject);
        let said = scopes.iter().filter_map(|scope| self.configs.get(scope));
        said.fold(Config::default(), Config::or).or(&builtin)
    }

    /// The mode that holds for a subject or, without a name, for its context.
    #[must_use]
    pub fn mode(&self, subject: &Subject) -> Mode {
        let scopes = scopes(subject);
        let mut said = scopes.iter().filter_map(|scope| self.modes.get(scope).copied());
        // The widest scope may override all narrower ones.
        if said.clone().any(|mode| mode == Mode::ReadOnlyOverride) {
            return Mode::ReadOnlyOverride;
        }
        said.next().unwrap_or(Mode::ReadWrite)
    }

    /// The subject that a subject stands for.
    #[must_use]
    pub fn alias(&self, subject: &Subject) -> Option<Subject> {
        let alias =
            self.configs.get(&subject.qualified())?.alias.as_deref().filter(|alias| !alias.is_empty())?;
        Some(Subject::parse(alias, subject.context()))
    }
}

/// The narrowest first.
fn scopes(subject: &Subject) -> Vec<String> {
    let mut scopes = Vec::with_capacity(3);
    if !subject.name().is_empty() {
        scopes.push(subject.qualified());
    }
    scopes.push(Subject::whole(subject.context()).qualified());
    scopes.push(GLOBAL_SCOPE.to_owned());
    scopes
}

//! Personal data: what happens to it before it is stored.

use crate::check::place;
use crate::connector::Connector;
use crate::scalar::Secret;
use tidegate_yaml::diagnostic::Mistake;
use tidegate_yaml::node::Node;
use tidegate_yaml::reading::Reading;
use tidegate_yaml::{choice, section};

section! {
    /// What happens to the personal data of a class before it is stored.
    pub struct PersonalClass as "a class of `personal_data`" {
        /// What happens.
        action: PersonalAction;
        /// What `pseudonymise` makes pseudonyms with, at least 32 bytes: `${VARIABLE}`, or a file under `key_file`.
        key: Option<Secret>;
        /// Columns whose values tell pseudonyms apart, too: the same person under two tenants is two.
        per: Vec<String> = "[]";
        /// How many characters of a text `truncate` keeps.
        characters_max: Option<u32>;
        /// How many bits of an IPv4 address `truncate` keeps.
        ipv4_prefix: u16 = "24", "0".."32";
        /// How many bits of an IPv6 address `truncate` keeps.
        ipv6_prefix: u16 = "48", "0".."128";
        /// Of what number `generalise` makes a whole number the next multiple below.
        step: Option<u64>;
        /// The period whose beginning `generalise` makes of a date or time.
        to: Period = "month";
    }
}

choice! {
    /// What happens to personal data before it is stored.
    pub enum PersonalAction {
        /// Nothing.
        Keep => "keep",
        /// It is not stored: its column has its default.
        Drop => "drop",
        /// A text, an id or an address becomes 32 hexadecimal digits, which a key makes of it (HMAC-SHA-256).
        Pseudonymise => "pseudonymise",
        /// Of an address the network is kept, of a text its first characters.
        Truncate => "truncate",
        /// A whole number becomes a multiple of `step`, a date or time the beginning of a period, an URL its origin.
        Generalise => "generalise",
    }
}

choice! {
    /// How coarse a date or time becomes, in UTC.
    pub enum Period {
        /// A day.
        Day => "day",
        /// A month.
        Month => "month",
        /// A year.
        Year => "year",
    }
}

choice! {
    /// What the table of dead letters keeps of a record.
    pub enum LetterValues {
        /// Its key, its value and its headers, as they came.
        Keep => "keep",
        /// Where it is, and why it was refused. The record itself is in the dead-letter topic.
        Withhold => "withhold",
    }
}

impl PersonalClass {
    /// The least length of a key in bytes: 32 hexadecimal digits of a random number are 128 bits.
    pub const KEY_BYTES_MIN: usize = 32;
}

impl Connector {
    /// Whether something is done to the personal data of a class.
    #[must_use]
    pub fn treats_personal_data(&self) -> bool {
        self.personal_data.values().any(|class| class.action != PersonalAction::Keep)
    }

    /// Whether the table of dead letters goes without the records themselves: unless the file says otherwise, where
    /// their personal data is not stored as it comes.
    #[must_use]
    pub fn withholds_letters(&self) -> bool {
        match self.dead_letters.table_values {
            Some(LetterValues::Keep) => false,
            Some(LetterValues::Withhold) => true,
            None => self.treats_personal_data(),
        }
    }
}

/// Classes have what their actions need, and columns name classes that there are.
pub(crate) fn check(connector: &Connector, node: &Node, cx: &mut Reading<'_>) {
    for (name, class) in &connector.personal_data {
        let at = place(node, &["personal_data", name]);
        let length = class.key.as_ref().map(|key| key.expose().len());
        match (class.action, length) {
            (PersonalAction::Pseudonymise, None) => {
                let message = format!("class `{name}` pseudonymises, and has no `key`");
                let hint = "name a variable, `key: ${CDP_PII_KEY}`, or a file, `key_file: /run/secrets/pii`";
                cx.report(Mistake::MissingKey, at, message, Some(hint.to_owned()));
            }
            (PersonalAction::Pseudonymise, Some(length)) if length < PersonalClass::KEY_BYTES_MIN => {
                let message = format!(
                    "the key of class `{name}` has {length} bytes, expected at least {}",
                    PersonalClass::KEY_BYTES_MIN
                );
                let hint = Some("make one: `openssl rand -hex 32`".to_owned());
                cx.report(Mistake::BadValue, at, message, hint);
            }
            (PersonalAction::Pseudonymise, Some(_)) => {}
            (
                PersonalAction::Keep
                | PersonalAction::Drop
                | PersonalAction::Truncate
                | PersonalAction::Generalise,
                _,
            ) => {}
        }
    }
    for (mut path, column) in connector.every_column() {
        let Some(class) = &column.personal_data else { continue };
        if !connector.personal_data.contains_key(class) {
            path.push("personal_data");
            let known = connector.personal_data.keys().map(String::as_str);
            let hint =
                tidegate_yaml::nearest::nearest(class, known).map(|near| format!("did you mean `{near}`?"));
            let message = format!("no class of `personal_data` is named `{class}`");
            cx.report(Mistake::UnknownName, place(node, &path), message, hint);
        }
    }
}

//! Values that are written as one word: sizes, durations, secrets, addresses, names.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use tidegate_yaml::diagnostic::Mistake;
use tidegate_yaml::node::Node;
use tidegate_yaml::reading::{Reading, Surroundings};
use tidegate_yaml::shape::{Declared, Definitions, Fields, ObjectSchema, Shape, Word};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    const UNITS: [(&'static str, u64); 8] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1_000),
        ("kB", 1_000),
        ("B", 1),
    ];

    /// The size as a length in memory; saturates where addresses are narrower than 64 bits.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = &Self::UNITS[..3];
        match binary.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse_word(text).map_err(|hint| match hint {
            Some(hint) => format!("expected {}; {hint}", Self::EXPECTED),
            None => format!("expected {}", Self::EXPECTED),
        })
    }
}

impl Word for ByteSize {
    const EXPECTED: &'static str = "a size such as `32MiB`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        const HINT: &str = "units are B, KiB, MiB, GiB, KB, MB and GB; a bare number is bytes";
        let (number, factor) = Self::UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .unwrap_or((text, 1));
        let number: u64 = number.trim_end().parse().map_err(|_| Some(HINT))?;
        number.checked_mul(factor).map(Self).ok_or(Some("that is more than any memory has"))
    }

    fn word_schema() -> Value {
        json!({"anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^[0-9]{1,9} ?(GiB|MiB|KiB|GB|MB|KB|kB|B)$"},
        ]})
    }
}

/// A password or another text that must not be seen. `Debug` and `Display` show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret out of a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever sends it to its server.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Under `password` stands the text, under `password_file` the path of a file that holds it (a line
/// break at its end is not part of it).
impl Shape for Secret {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        cx.text(node, "a text").map(Self)
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "number", "boolean"]})
    }

    fn take_optional(fields: &mut Fields<'_, '_, '_>, declared: Declared) -> Option<Option<Self>> {
        let file_key = format!("{}_file", declared.key);
        match (fields.find(declared.key), fields.find(&file_key)) {
            (Some(_), Some(file)) => {
                let message = format!("`{}` and `{file_key}` are both given", declared.key);
                let hint = Some("keep one of the two".to_owned());
                fields.cx.report(Mistake::Conflict, file.at, message, hint);
                None
            }
            (Some(value), None) => Self::read(value, fields.cx).map(Some),
            (None, Some(file)) => {
                let path = PathBuf::read(file, fields.cx)?;
                let read = |around: &Surroundings<'_>| (around.read)(&path);
                match fields.cx.surroundings.map(read)? {
                    Ok(text) => Some(Some(Self(text.trim_end_matches(['\r', '\n']).to_owned()))),
                    Err(error) => {
                        let message = format!("read `{}`: {error}", path.display());
                        fields.cx.report(Mistake::SecretFile, file.at, message, None);
                        None
                    }
                }
            }
            (None, None) => Some(None),
        }
    }

    fn describe_optional(declared: Declared, object: &mut ObjectSchema, definitions: &mut Definitions) {
        let file_key = format!("{}_file", declared.key);
        let schema = declared.annotate(Self::schema(definitions));
        object.properties.insert(declared.key.to_owned(), schema);
        let file = json!({
            "description": format!("A file that holds `{}`, instead of it.", declared.key),
            "type": "string",
        });
        object.properties.insert(file_key.clone(), file);
        object.rules.push(json!({"not": {"required": [declared.key, file_key]}}));
    }

    fn describe(declared: Declared, object: &mut ObjectSchema, definitions: &mut Definitions) {
        Self::describe_optional(declared, object, definitions);
        if declared.default.is_none() {
            let file_key = format!("{}_file", declared.key);
            let either = json!({"anyOf": [{"required": [declared.key]}, {"required": [file_key]}]});
            object.rules.push(either);
        }
    }
}

macro_rules! text_word {
    ($(#[doc = $doc:literal])* $name:ident, $expected:literal, $pattern:literal, $check:expr) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks a text from elsewhere, a command line say.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::parse_word(text).ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Word for $name {
            const EXPECTED: &'static str = $expected;

            fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
                let check: fn(&str) -> Result<(), Option<&'static str>> = $check;
                check(text).map(|()| Self(text.to_owned()))
            }

            fn word_schema() -> Value {
                json!({"type": "string", "pattern": $pattern})
            }
        }
    };
}

text_word! {
    /// A Kafka topic: 1 to 249 letters, digits, dots, underscores and hyphens, not `.` or `..`.
    Topic, "a topic name", r"^[A-Za-z0-9._-]{1,249}$",
    |text| if legal(text, 249, "._-") && text != "." && text != ".." { Ok(()) } else {
        Err(Some("topic names have 1 to 249 letters, digits, `.`, `_` and `-`; patterns are not supported"))
    }
}

text_word! {
    /// A connector's name: 1 to 100 letters, digits, dots, underscores and hyphens.
    Name, "a name", r"^[A-Za-z0-9._-]{1,100}$",
    |text| if legal(text, 100, "._-") { Ok(()) } else {
        Err(Some("names have 1 to 100 letters, digits, `.`, `_` and `-`"))
    }
}

text_word! {
    /// The name of a ClickHouse database, table or column: 1 to 200 letters, digits, underscores and
    /// hyphens (in any script).
    Identifier, "a ClickHouse name", r"^[\p{L}\p{N}_-]{1,200}$",
    |text| {
        let n_chars = text.chars().count();
        let legal = text.chars().all(|char| char.is_alphanumeric() || matches!(char, '_' | '-'));
        if legal && (1..=200).contains(&n_chars) { Ok(()) } else {
            Err(Some("names have letters, digits, `_` and `-`; the database has a key of its own"))
        }
    }
}

text_word! {
    /// A Kafka broker: `host:port`, or `host` for port 9092.
    Broker, "a broker such as `kafka-1:9092`", r"^[^\s,/@]+$",
    |text| {
        if text.contains("://") {
            return Err(Some("write host and port without a scheme; TLS and SASL have sections of their own"));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port),
            _ => (text, "9092"),
        };
        let legal = !host.is_empty()
            && !host.chars().any(|char| char.is_whitespace() || matches!(char, ',' | '/' | '@'))
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        if legal { Ok(()) } else { Err(text.contains(',').then_some("write a list, one broker an item")) }
    }
}

text_word! {
    /// An HTTP address without path, query and credentials: `http://host:8123` or `https://host:8443`.
    HttpUrl, "an address such as `http://clickhouse-1:8123`", r"^https?://[^\s/@?#]+/?$",
    |text| {
        let rest = without_scheme(text)?;
        let legal = authority(rest.strip_suffix('/').unwrap_or(rest));
        if legal { Ok(()) } else { Err(Some("host and port only; path and query are Tidegate's")) }
    }
}

text_word! {
    /// The HTTP address of a schema registry, with a path if it stands beneath one, as behind a gateway:
    /// `https://host/apis/ccompat/v7`.
    RegistryUrl, "an address such as `http://registry:8081`", r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$",
    |text| {
        let rest = without_scheme(text)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = !path.chars().any(|char| char.is_whitespace() || matches!(char, '?' | '#'));
        if plain && authority(host) { Ok(()) } else { Err(Some("host, port and path only")) }
    }
}

fn without_scheme(text: &str) -> Result<&str, Option<&'static str>> {
    match text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
        None => Err(Some("begin with `http://` or `https://`")),
        Some(rest) if rest.contains('@') => Err(Some("user and password have keys of their own")),
        Some(rest) => Ok(rest),
    }
}

/// Whether it is a host, with or without a port.
fn authority(text: &str) -> bool {
    let port = match text.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port,
        _ => "80",
    };
    !text.is_empty()
        && !text.starts_with(':')
        && !text.chars().any(|char| char.is_whitespace() || matches!(char, '/' | '?' | '#'))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Letters, digits and `more`, 1 to `chars_max` of them.
fn legal(text: &str, chars_max: usize, more: &str) -> bool {
    (1..=chars_max).contains(&text.len())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
}

/// Where a field stands in an event: `meta.created`, or the JSON Pointer `/meta/created` for names that
/// contain a dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldPath(Vec<String>);

impl FieldPath {
    /// The names from the event's root on; at least one.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// As a JSON Pointer (RFC 6901).
    #[must_use]
    pub fn pointer(&self) -> String {
        self.0.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pointer())
    }
}

impl Word for FieldPath {
    const EXPECTED: &'static str = "a field such as `meta.created` or `/meta/created`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        let segments: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => text.split('.').map(str::to_owned).collect(),
        };
        if segments.iter().any(String::is_empty) {
            return Err(Some("a name between two dots or slashes is empty"));
        }
        Ok(Self(segments))
    }

    fn word_schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// A way to write a date or time: the codec's patterns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TimeFormat(String);

impl TimeFormat {
    /// What may stand after `%`. The codec knows the same; a test of the program holds them together.
    const LETTERS: &str = "YmdHIpMSfzbasTF%";

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for TimeFormat {
    const EXPECTED: &'static str = "a date-time pattern such as `%d/%m/%Y %H:%M`, `rfc2822` or `clf`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        const HINT: &str = "after `%` stands one of Y m d H I p M S f z b a s T F or another `%`";
        let mut letters = text.chars();
        while let Some(c) = letters.next() {
            if c == '%' && !letters.next().is_none_or(|letter| Self::LETTERS.contains(letter)) {
                return Err(Some(HINT));
            }
        }
        if text.is_empty() { Err(Some(HINT)) } else { Ok(Self(text.to_owned())) }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "minLength": 1, "pattern": "^([^%]|%[YmdHIpMSfzbasTF%])*%?$"})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_have_binary_and_decimal_units_and_print_back() {
        assert_eq!(ByteSize::parse_word("32MiB"), Ok(ByteSize(32 << 20)));
        assert_eq!(ByteSize::parse_word("1 GB"), Ok(ByteSize(1_000_000_000)));
        assert_eq!(ByteSize::parse_word("17"), Ok(ByteSize(17)));
        assert_eq!(ByteSize(32 << 20).to_string(), "32MiB");
        assert_eq!(ByteSize(1500).to_string(), "1500B");
        for text in ["", "MiB", "1.5MiB", "-1", "1TB", "18446744073709551615GiB"] {
            assert!(ByteSize::parse_word(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(Duration::parse_word("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(Duration::parse_word("2h"), Ok(Duration::from_secs(7200)));
        for text in ["500", "", "ms", "1.5s", "1w", "18446744073709551615d"] {
            assert!(Duration::parse_word(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn addresses_are_checked_where_they_are_written() {
        for text in ["kafka-1:9092", "kafka-1", "10.0.0.1:9092", "[::1]:9092"] {
            assert!(Broker::parse(text).is_some(), "{text}");
        }
        for text in ["", ":9092", "kafka:0", "kafka:99999", "a:1,b:2", "ssl://kafka:9093", "user@kafka:9092"]
        {
            assert!(Broker::parse(text).is_none(), "{text}");
        }
        for text in ["http://ch:8123", "https://ch", "http://[::1]:8123/", "http://127.0.0.1:8123"] {
            assert!(HttpUrl::parse(text).is_some(), "{text}");
        }
        for text in ["ch:8123", "http://", "http://u:p@ch", "http://ch/path", "http://ch?x=1", "http://ch:x"]
        {
            assert!(HttpUrl::parse(text).is_none(), "{text}");
        }
        for text in ["http://r:8081", "https://r/", "https://r/apis/ccompat/v7", "http://[::1]:8081/a/"] {
            assert!(RegistryUrl::parse(text).is_some(), "{text}");
        }
        for text in ["r:8081", "http:///a", "http://u:p@r", "http://r/a?x=1", "http://r/a b", "http://r:x/a"]
        {
            assert!(RegistryUrl::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_dotted_path_and_a_pointer_name_the_same_field() {
        let dotted = FieldPath::parse_word("meta.created").unwrap();
        assert_eq!(dotted, FieldPath::parse_word("/meta/created").unwrap());
        assert_eq!(FieldPath::parse_word("/a~1b/c~0d").unwrap().segments(), ["a/b", "c~d"]);
        assert_eq!(FieldPath::parse_word("/a~1b/c~0d").unwrap().pointer(), "/a~1b/c~0d");
        assert!(FieldPath::parse_word("a..b").is_err());
        assert!(FieldPath::parse_word("").is_err());
    }
}

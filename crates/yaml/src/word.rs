//! Values of foreign types that are written as one word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::diagnostic::Mistake;
use crate::node::Node;
use crate::reading::Reading;
use crate::shape::{Definitions, Shape, Word};

impl Word for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            "yes" | "on" | "True" | "TRUE" => Err(Some("write `true`")),
            "no" | "off" | "False" | "FALSE" => Err(Some("write `false`")),
            _ => Err(None),
        }
    }

    fn word_schema() -> Value {
        json!({"type": "boolean"})
    }
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Word for $type {
            const EXPECTED: &'static str = "a whole number";

            fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
                text.parse().map_err(|_| text.contains(['_', ',', ' ', '\'']).then_some("write digits only"))
            }

            fn word_schema() -> Value {
                json!({"type": "integer", "minimum": 0})
            }
        }
    )+};
}

whole_number!(u16, u32, u64, usize);

impl Word for f64 {
    const EXPECTED: &'static str = "a number";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        if let Some(percent) = text.strip_suffix('%')
            && percent.trim().parse::<Self>().is_ok()
        {
            return Err(Some("write a share of 1: `0.5` for 50%"));
        }
        text.parse().ok().filter(|number: &Self| number.is_finite()).ok_or(None)
    }

    fn word_schema() -> Value {
        json!({"type": "number"})
    }
}

impl Word for String {
    const EXPECTED: &'static str = "a text";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        Ok(text.to_owned())
    }

    fn word_schema() -> Value {
        json!({"type": "string"})
    }
}

impl Word for Duration {
    const EXPECTED: &'static str = "a duration such as `500ms`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        const HINT: &str = "give a whole number and a unit: ms, s, m, h or d";
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let (number, factor) = units
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .ok_or(Some(HINT))?;
        let number: u64 = number.trim_end().parse().map_err(|_| Some(HINT))?;
        number.checked_mul(factor).map(Self::from_millis).ok_or(Some(HINT))
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9]{1,9} ?(ms|s|m|h|d)$"})
    }
}

impl Word for SocketAddr {
    const EXPECTED: &'static str = "an address with a port, such as `127.0.0.1:8080`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        text.parse().map_err(|_| match text {
            text if text.starts_with("localhost") => Some("write `127.0.0.1` for localhost"),
            text if text.parse::<u16>().is_ok() => Some("put the address before the port: `127.0.0.1:8080`"),
            _ => None,
        })
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+):[0-9]{1,5}$"})
    }
}

/// A path; a relative one is taken against the folder of the configuration file.
impl Shape for PathBuf {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let text = cx.text(node, "a path")?;
        if text.is_empty() {
            cx.report(Mistake::BadValue, node.at, "expected a path, found an empty text", None);
            return None;
        }
        Some(cx.folder.join(text))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

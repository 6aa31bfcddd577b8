//! Dimensions, facts, metrics of every kind, rollups.

use std::fmt;

use serde_json::{Value, json};
use tidegate_yaml::node::{Node, NodeKind};
use tidegate_yaml::reading::Reading;
use tidegate_yaml::shape::{Definitions, Located, Shape, Word, comma_list};
use tidegate_yaml::{Mistake, choice, section};

use crate::expression::Expression;
use crate::field_type::FieldType;

section! {
    /// What metrics are split by: a field, an expression, or a field of an entity.
    pub struct Dimension as "a dimension" {
        /// What it says.
        doc: Option<String>;
        /// The field of the events.
        field: Option<Located<String>>;
        /// Or an expression over them.
        expr: Option<Located<Expression>>;
        /// Or the field that is the key of `entity`, whose `attribute` it is.
        via: Option<Located<String>>;
        /// The entity.
        entity: Option<Located<String>>;
        /// The entity's field.
        attribute: Option<Located<String>>;
        /// What stands for null.
        missing: Option<String>;
    }
}

section! {
    /// Rows that metrics count.
    pub struct Fact as "a fact" {
        /// What a row is.
        doc: Option<String>;
        /// The event whose rows they are.
        event: Option<Located<String>>;
        /// Or the events whose rows are put into one narrow table.
        events: Vec<Located<String>> = "[]";
        /// The fields of that table. Every one of the events has them.
        columns: Vec<Located<String>> = "[]";
        /// Which rows count.
        where_: Option<Located<Expression>>;
    }
}

choice! {
    /// A length of the time axis.
    pub enum Grain {
        /// An hour.
        Hour => "hour",
        /// A day.
        Day => "day",
        /// A week, from Monday.
        Week => "week",
        /// A month.
        Month => "month",
    }
}

choice! {
    /// The kinds of metrics.
    pub enum Kind {
        /// Rows.
        Count => "count",
        /// The sum of an expression.
        Sum => "sum",
        /// The least value of an expression.
        Min => "min",
        /// The greatest value of an expression.
        Max => "max",
        /// Whether an expression is true of any row.
        Any => "any",
        /// The mean of an expression.
        Avg => "avg",
        /// Different values of an expression.
        CountDistinct => "count_distinct",
        /// The value below which a share `q` of the values lies.
        Quantile => "quantile",
        /// One metric divided by another.
        Ratio => "ratio",
        /// An expression over metrics.
        Derived => "derived",
        /// The first value of each `per`, summed.
        First => "first",
        /// The last value of each `per`, summed.
        Last => "last",
        /// A metric over a moving window, or since the beginning of a period.
        Cumulative => "cumulative",
        /// The share of `by` that did `returns` within `within` of `cohort`.
        Conversion => "conversion",
        /// How many of `by` came how far through the steps.
        Funnel => "funnel",
        /// How many of a cohort came back in each period.
        Retention => "retention",
    }
}

choice! {
    /// What a quotient is when its divisor is nothing.
    pub enum Empty {
        /// Null.
        Null => "null",
        /// Zero.
        Zero => "0",
    }
}

choice! {
    /// How different values are counted.
    pub enum Precision {
        /// In bounded space, with an error of some tenths of a percent.
        Approx => "approx",
        /// Exactly, in space that grows with them.
        Exact => "exact",
    }
}

choice! {
    /// In which order a funnel's steps come.
    pub enum StepOrder {
        /// Each later than the one before it.
        Strict => "strict",
        /// Each not earlier than the one before it.
        Loose => "loose",
    }
}

/// A number of units of time: `7d`, `13mo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// How many.
    pub count: u32,
    /// Of what.
    pub unit: SpanUnit,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanUnit {
    /// `s`
    Second,
    /// `m`
    Minute,
    /// `h`
    Hour,
    /// `d`
    Day,
    /// `w`
    Week,
    /// `mo`
    Month,
    /// `y`
    Year,
}

impl SpanUnit {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Month, "mo", "MONTH"),
        (Self::Second, "s", "SECOND"),
        (Self::Minute, "m", "MINUTE"),
        (Self::Hour, "h", "HOUR"),
        (Self::Day, "d", "DAY"),
        (Self::Week, "w", "WEEK"),
        (Self::Year, "y", "YEAR"),
    ];

    fn entry(self) -> (&'static str, &'static str) {
        let entry = Self::ALL.iter().find(|(unit, ..)| *unit == self);
        entry.map_or(("d", "DAY"), |(_, short, sql)| (*short, *sql))
    }
}

impl Span {
    /// As an interval of ClickHouse's SQL.
    #[must_use]
    pub fn sql(self) -> String {
        format!("INTERVAL {} {}", self.count, self.unit.entry().1)
    }

    /// In milliseconds, unless its length depends on the calendar.
    #[must_use]
    pub const fn millis(self) -> Option<u64> {
        let unit = match self.unit {
            SpanUnit::Second => 1_000,
            SpanUnit::Minute => 60_000,
            SpanUnit::Hour => 3_600_000,
            SpanUnit::Day => 86_400_000,
            SpanUnit::Week => 604_800_000,
            SpanUnit::Month | SpanUnit::Year => return None,
        };
        Some(self.count as u64 * unit)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.entry().0)
    }
}

impl Word for Span {
    const EXPECTED: &'static str = "a length of time such as `28d`";

    fn parse_word(text: &str) -> Result<Self, Option<&'static str>> {
        const HINT: Option<&str> = Some("give a whole number and a unit: s, m, h, d, w, mo or y");
        let (unit, number) = SpanUnit::ALL
            .iter()
            .find_map(|(unit, short, _)| Some((*unit, text.strip_suffix(short)?)))
            .ok_or(HINT)?;
        match number.parse() {
            Ok(count @ 1..=100_000) => Ok(Self { count, unit }),
            _ => Err(HINT),
        }
    }

    fn word_schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9]{1,6}(s|m|h|d|w|mo|y)$"})
    }
}

section! {
    /// What every kind of metric may say; which keys a kind takes is checked, and described, by one table.
    pub(crate) struct MetricKeys as "a metric" {
        /// What it says.
        doc: Option<String>;
        /// Its kind.
        kind: Kind;
        /// Who answers for it.
        owner: Option<String>;
        /// Other names of it, in spreadsheets say.
        alias: Vec<String> = "[]";
        /// What its number counts.
        unit: Option<String>;
        /// Why it should not be used any more.
        deprecated: Option<String>;
        /// The fact whose rows count.
        fact: Option<Located<String>>;
        /// Or the event.
        event: Option<Located<String>>;
        /// Which rows count.
        where_: Option<Located<Expression>>;
        /// The expression.
        expr: Option<Located<Expression>>;
        /// The type of a sum: `"decimal(18,6)"`.
        ty: Option<Located<FieldType>>;
        /// The share of a quantile, between 0 and 1.
        q: Option<Located<f64>>;
        /// How different values are counted.
        precision: Option<Precision>;
        /// What is divided.
        numerator: Option<MetricRef>;
        /// What it is divided by.
        denominator: Option<MetricRef>;
        /// What a quotient is when its divisor is nothing.
        empty: Option<Empty>;
        /// The field that says what is earlier.
        by: Option<Located<String>>;
        /// The field that says whose values they are.
        per: Option<Located<String>>;
        /// The metric that is accumulated.
        of: Option<Located<String>>;
        /// The window that moves.
        window: Option<Located<Span>>;
        /// Or the period at whose beginning the metric begins anew.
        reset: Option<Grain>;
        /// The events of a funnel, or expressions over the fact's rows.
        steps: Vec<Located<String>> = "[]";
        /// How long after the first step the last one may come.
        within: Option<Located<Span>>;
        /// In which order the steps come.
        order: Option<StepOrder>;
        /// The event by which somebody joins a cohort.
        cohort: Option<Located<String>>;
        /// The event that counts as coming back.
        returns: Option<Located<String>>;
        /// How long a period is.
        period: Option<Grain>;
        /// How many periods.
        periods: Option<Located<u32>>;
    }
}

/// A metric. Which of its keys are there follows from its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric(pub(crate) Box<MetricKeys>);

/// What any kind may say.
const ANY_KIND: [&str; 6] = ["doc", "kind", "owner", "alias", "unit", "deprecated"];

/// What a kind must say, and what it may say besides.
const fn keys(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Count => (&[], &["fact", "event", "where"]),
        Kind::Sum => (&["expr"], &["fact", "event", "where", "type"]),
        Kind::Min | Kind::Max | Kind::Any | Kind::Avg => (&["expr"], &["fact", "event", "where"]),
        Kind::CountDistinct => (&["expr"], &["fact", "event", "where", "precision"]),
        Kind::Quantile => (&["expr", "q"], &["fact", "event", "where"]),
        Kind::Ratio => (&["numerator", "denominator"], &["empty"]),
        Kind::Derived => (&["expr"], &["empty"]),
        Kind::First | Kind::Last => (&["expr", "per"], &["fact", "event", "where", "by"]),
        Kind::Cumulative => (&["of"], &["window", "reset"]),
        Kind::Conversion => (&["fact", "cohort", "returns", "within", "by"], &[]),
        Kind::Funnel => (&["fact", "steps", "within", "by"], &["order"]),
        Kind::Retention => (&["fact", "cohort", "returns", "period", "periods", "by"], &[]),
    }
}

impl Shape for Metric {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        let metric = MetricKeys::read(node, cx)?;
        let (required, optional) = keys(metric.kind);
        let NodeKind::Map(entries) = &node.kind else { return None };
        let mut complete = true;
        for entry in entries {
            let key = entry.key.as_str();
            if !required.contains(&key) && !optional.contains(&key) && !ANY_KIND.contains(&key) {
                let message = format!("a `{}` metric has no `{key}`", metric.kind);
                let takes: Vec<&str> = required.iter().chain(optional).copied().collect();
                cx.report(
                    Mistake::Conflict,
                    entry.key_at,
                    message,
                    Some(format!("it takes {}", comma_list(&takes))),
                );
                complete = false;
            }
        }
        for key in required.iter().filter(|key| node.get(key).is_none()) {
            cx.report(
                Mistake::MissingKey,
                node.at,
                format!("a `{}` metric lacks `{key}`", metric.kind),
                None,
            );
            complete = false;
        }
        complete.then(|| Self(Box::new(metric)))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let all = MetricKeys::schema(definitions);
        definitions.define("Metric", |_| {
            let rules = Kind::ALL.iter().map(|kind| {
                let (required, optional) = keys(*kind);
                let known: Vec<&str> = ANY_KIND.iter().chain(required).chain(optional).copied().collect();
                json!({
                    "if": {"properties": {"kind": {"const": kind.as_str()}}, "required": ["kind"]},
                    "then": {"required": required, "propertyNames": {"enum": known}},
                })
            });
            let mut all_of: Vec<Value> = vec![all];
            all_of.extend(rules);
            json!({"allOf": all_of})
        })
    }
}

impl Metric {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What it says.
    #[must_use]
    pub fn doc(&self) -> Option<&str> {
        self.0.doc.as_deref()
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.0.owner.as_deref()
    }

    /// Other names of it.
    #[must_use]
    pub fn alias(&self) -> &[String] {
        &self.0.alias
    }

    /// What its number counts.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.0.unit.as_deref()
    }

    /// Its expression.
    #[must_use]
    pub fn expr(&self) -> Option<&Expression> {
        self.0.expr.as_ref().map(|located| &located.value)
    }

    /// Which rows count.
    #[must_use]
    pub fn filter(&self) -> Option<&Expression> {
        self.0.where_.as_ref().map(|located| &located.value)
    }
}

/// A metric by its name, or one that is told where it is used.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricRef {
    /// By its name.
    Named(Located<String>),
    /// In place.
    Inline(Metric),
}

impl Shape for MetricRef {
    fn read(node: &Node, cx: &mut Reading<'_>) -> Option<Self> {
        match &node.kind {
            NodeKind::Map(_) => Metric::read(node, cx).map(Self::Inline),
            NodeKind::Text(_) | NodeKind::Nothing | NodeKind::List(_) => {
                Located::read(node, cx).map(Self::Named)
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        // `Metric` is described around the section that this key is of.
        json!({"anyOf": [String::schema(definitions), {"$ref": "#/$defs/Metric"}]})
    }
}

section! {
    /// Metrics that are kept summed up, by a materialized view.
    pub struct Rollup as "a rollup" {
        /// What it is for.
        doc: Option<String>;
        /// The fact whose rows are summed up.
        fact: Located<String>;
        /// The length of its time axis.
        grain: Grain;
        /// What it can be split by.
        dims: Vec<Located<String>> = "[]";
        /// What it keeps.
        metrics: Vec<Located<String>>;
        /// How long; `policies.keep_rollups` if absent.
        keep: Option<Span>;
    }
}

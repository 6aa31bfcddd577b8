//! Personal data: what is stored in the place of what came.
//!
//! A column of personal data is decoded and validated as what came: its *clear type*. When the whole record has
//! turned out to be a row, [`Treatment::put`] makes the value that is stored, in a column of its own, and only that
//! one is sent. So every format passes through the same step, and no rule is checked on a changed value.
//! Start with [`PersonalColumn`]; `found` is what a reject may quote.

mod found;
mod put;

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidegate_native::{Column, ColumnDefault, Table, TableColumn, Type};

use crate::options::PlanOptions;
use crate::plan::{PlanError, PlannedColumns};

pub(crate) use found::Quotable;
pub(crate) use put::Memo;

/// What happens to a column's values before they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalColumn {
    /// The type of what comes, where the table has another one for what is stored: `UUID` of a column that keeps
    /// pseudonyms as `String`. It stands for the innermost type: `Array(Nullable(String))` keeps its wrapping.
    pub clear: Option<Type>,
    /// What happens.
    pub action: PersonalAction,
}

impl PersonalColumn {
    /// Makes of the type of what comes the type of what is stored.
    pub(crate) fn retype(&self, ty: &mut Type) {
        if let PersonalAction::Pseudonymise { .. } = self.action {
            *ty = with_innermost(ty, &Type::String);
        }
    }
}

/// How a personal value is changed. None of them fails, and each says the same of the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonalAction {
    /// It is not sent: the server puts the column's default.
    Drop,
    /// It becomes the pseudonym that a key makes of its text.
    Pseudonymise {
        /// The key.
        key: PseudonymKey,
        /// Columns whose values, too, tell pseudonyms apart: the same person under two tenants is two.
        per: Vec<String>,
    },
    /// A text keeps its first characters, an address its network; the rest becomes zero.
    Truncate {
        /// How many characters a text keeps; without it, texts cannot be truncated.
        characters_max: Option<usize>,
        /// The bits that an IPv4 address keeps, also one that is mapped into IPv6.
        ipv4_prefix: u8,
        /// The bits that an IPv6 address keeps.
        ipv6_prefix: u8,
    },
    /// A whole number becomes the next multiple below, a date or time the beginning of its period, and a text, which
    /// is an URL's, keeps scheme, host and port.
    Generalise {
        /// Of what whole numbers become multiples; without it, they cannot be generalised.
        step: Option<u64>,
        /// The period of dates and times.
        to: Period,
    },
}

/// How coarse a date becomes, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// A day.
    Day,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// A key that pseudonyms are made with: HMAC-SHA-256 (RFC 2104), of which the first 16 bytes count, as 32 hexadecimal
/// digits. Is never shown: `Debug` gives a mark that tells keys apart, made one-way from the key.
#[derive(Clone)]
pub struct PseudonymKey {
    keyed: Hmac<Sha256>,
    mark: u32,
}

/// A key is too short to withstand a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of {length} bytes, expected at least {}", PseudonymKey::LENGTH_MIN)]
pub struct ShortKey {
    /// Its length in bytes.
    pub length: usize,
}

impl PseudonymKey {
    /// The least length in bytes: 32 hexadecimal digits of a random number are 128 bits.
    pub const LENGTH_MIN: usize = 32;

    /// A key out of its bytes.
    ///
    /// # Errors
    /// When it is too short.
    pub fn new(key: &[u8]) -> Result<Self, ShortKey> {
        if key.len() < Self::LENGTH_MIN {
            return Err(ShortKey { length: key.len() });
        }
        let keyed = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        let marked = mac(&keyed, b"tidegate: a mark that tells keys apart");
        let mark = u32::from_be_bytes(*marked.first_chunk().expect("32 bytes have a first chunk"));
        Ok(Self { keyed, mark })
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PseudonymKey({:08x})", self.mark)
    }
}

impl PartialEq for PseudonymKey {
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark && mac(&self.keyed, b"same") == mac(&other.keyed, b"same")
    }
}

impl Eq for PseudonymKey {}

fn mac(keyed: &Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    let mut running = keyed.clone();
    running.update(text);
    running.finalize().into_bytes().into()
}

/// The personal columns of a plan. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Personal {
    pub(crate) treatments: Arc<[Treatment]>,
    pub(crate) quotable: Arc<Quotable>,
}

/// One personal column.
#[derive(Debug)]
pub(crate) struct Treatment {
    /// Where the clear values are.
    pub(crate) place: usize,
    action: PersonalAction,
    /// The innermost type of what came.
    leaf: Type,
    /// The type of what is stored; `None` for what is not sent.
    pub(crate) stored: Option<Type>,
    /// Where the values are that tell pseudonyms apart, with their innermost types.
    per: Vec<(usize, Type)>,
}

impl Personal {
    pub(crate) fn compile(
        table: &Table,
        options: &PlanOptions,
        columns: &PlannedColumns,
        quotable: Quotable,
    ) -> Result<Self, PlanError> {
        let mut treatments = Vec::new();
        for (place, (name, planned)) in columns.iter().enumerate() {
            let Some(own) = options.columns.get(name).and_then(|own| own.personal.as_ref()) else { continue };
            let column = table.columns.iter().find(|column| column.name == *name);
            let column = column.expect("plans have columns of their tables");
            treatments.push(Treatment::compile(column, own, (place, planned), columns)?);
        }
        if !columns.is_empty()
            && treatments.iter().filter(|one| one.stored.is_none()).count() == columns.len()
        {
            return Err(PlanError::NoColumns { table: format!("{}.{}", table.database, table.name) });
        }
        if treatments.is_empty() {
            return Ok(Self::default());
        }
        Ok(Self { treatments: treatments.into(), quotable: Arc::new(quotable) })
    }
}

impl Treatment {
    fn compile(
        column: &TableColumn,
        own: &PersonalColumn,
        (place, planned): (usize, &Type),
        columns: &PlannedColumns,
    ) -> Result<Self, PlanError> {
        let wrong = |what: String| PlanError::WrongColumn {
            column: column.name.clone(),
            ty: column.ty.to_string(),
            what,
        };
        let leaf = innermost(planned).clone();
        if !own.action.takes(&leaf) {
            return Err(wrong(format!("values of type `{leaf}` that are to be {}", own.action.told())));
        }
        let stored = match &own.action {
            PersonalAction::Drop => None,
            PersonalAction::Pseudonymise { .. } if *innermost(&column.ty) != Type::String => {
                return Err(wrong("pseudonyms, which are of type `String`".to_owned()));
            }
            PersonalAction::Pseudonymise { .. }
            | PersonalAction::Truncate { .. }
            | PersonalAction::Generalise { .. } => Some(stored(column, planned)),
        };
        let mut per = Vec::new();
        if let PersonalAction::Pseudonymise { per: names, .. } = &own.action {
            for name in names {
                let other = columns.iter().position(|(known, _)| known == name);
                let found = other.map(|at| (at, innermost(&columns[at].1).clone()));
                let single = found.filter(|(at, leaf)| put::texted(leaf) && !listed(&columns[*at].1));
                per.push(single.ok_or_else(|| {
                    wrong(format!("pseudonyms per `{name}`, which is no column of single texts or numbers"))
                })?);
            }
        }
        Ok(Self { place, action: own.action.clone(), leaf, stored, per })
    }

    /// An empty column for what is stored.
    pub(crate) fn column(&self) -> Option<Column> {
        self.stored.as_ref().map(|ty| Column::for_type(ty).expect("compiling has made a column of each type"))
    }
}

impl PersonalAction {
    /// Whether it is for values of a type.
    fn takes(&self, leaf: &Type) -> bool {
        match self {
            Self::Drop => true,
            Self::Pseudonymise { .. } => put::texted(leaf),
            Self::Truncate { characters_max, .. } => match leaf {
                Type::IPv4 | Type::IPv6 => true,
                leaf => *leaf == Type::String && characters_max.is_some(),
            },
            Self::Generalise { step, .. } => match leaf {
                Type::String
                | Type::Date
                | Type::Date32
                | Type::DateTime { .. }
                | Type::DateTime64 { .. } => true,
                leaf => put::whole(leaf) && step.is_some_and(|step| step > 0),
            },
        }
    }

    const fn told(&self) -> &'static str {
        match self {
            Self::Drop => "dropped",
            Self::Pseudonymise { .. } => "pseudonymised",
            Self::Truncate { .. } => "truncated",
            Self::Generalise { .. } => "generalised",
        }
    }
}

/// The column as its values come.
pub(crate) fn clear(column: &TableColumn, own: Option<&PersonalColumn>) -> TableColumn {
    let ty = match own.and_then(|own| own.clear.as_ref()) {
        Some(clear) => with_innermost(&column.ty, clear),
        None => column.ty.clone(),
    };
    TableColumn { ty, ..column.clone() }
}

/// The table's own type; where the plan asks the server for a default by NULL, with that NULL.
fn stored(column: &TableColumn, planned: &Type) -> Type {
    let asks = matches!(column.default, ColumnDefault::Default { .. });
    match &column.ty {
        ty if ty.accepts_null() || !planned.accepts_null() || !asks => ty.clone(),
        Type::LowCardinality(inner) => Type::LowCardinality(Box::new(inner.as_ref().clone().nullable())),
        ty => ty.clone().nullable(),
    }
}

/// What stands within all lists, nulls and dictionaries.
fn innermost(ty: &Type) -> &Type {
    match ty {
        Type::Nullable(inner) | Type::LowCardinality(inner) | Type::Array(inner) => innermost(inner),
        ty => ty.stored(),
    }
}

fn with_innermost(ty: &Type, new: &Type) -> Type {
    match ty {
        Type::Nullable(inner) => with_innermost(inner, new).nullable(),
        Type::Array(inner) => with_innermost(inner, new).array(),
        Type::LowCardinality(inner) if *new == Type::String => {
            Type::LowCardinality(Box::new(with_innermost(inner, new)))
        }
        Type::LowCardinality(inner) => with_innermost(inner, new),
        _ => new.clone(),
    }
}

fn listed(ty: &Type) -> bool {
    match ty {
        Type::Array(_) => true,
        Type::Nullable(inner) | Type::LowCardinality(inner) => listed(inner),
        _ => false,
    }
}

//! The tables that Iglu Central itself has, for Redshift, beside ours: each difference has a rule that explains it.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate_catalog::import::Imported;
use tidegate_catalog::proposal::{ProposedField, legal_name};
use tidegate_catalog::{FieldType, Scalar};

use crate::central;

/// A column of a reference table: its name, and its type in lower case without spaces.
type Column = (String, String);

struct Reference {
    file: String,
    /// `com.olark/offline_message`, `1-0-0`
    schema: (String, String),
    columns: Vec<Column>,
    /// Whether igluctl wrote it, and not a person.
    generated: bool,
}

/// What every table of Redshift's has besides: who sent it, and where it belongs.
const ENVELOPE: [&str; 9] = [
    "schema_vendor",
    "schema_name",
    "schema_format",
    "schema_version",
    "root_id",
    "root_tstamp",
    "ref_root",
    "ref_tree",
    "ref_parent",
];

fn reference(path: &Path) -> Option<Reference> {
    let text = std::fs::read_to_string(path).unwrap();
    let body = text.split_once("CREATE TABLE")?.1.split_once('(')?.1;
    let mut columns = Vec::new();
    for line in body
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with(')') && !line.starts_with("DISTSTYLE"))
    {
        let line = line.split("--").next().unwrap_or_default().trim();
        let upper = line.to_uppercase();
        if line.is_empty() || ["FOREIGN KEY", "PRIMARY KEY"].iter().any(|key| upper.starts_with(key)) {
            continue;
        }
        let (name, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => line.split_once(char::is_whitespace)?,
        };
        let rest = rest.trim().to_lowercase();
        let ty = match rest.split_once('(') {
            Some((base, args)) if base.trim().chars().all(|char| char.is_ascii_alphabetic()) => {
                format!("{}({})", base.trim(), args.split(')').next()?.replace(' ', ""))
            }
            _ => rest.split([' ', ',']).next()?.to_owned(),
        };
        columns.push((name.to_lowercase(), ty));
    }
    let named = text.split("iglu:").nth(1).and_then(|rest| {
        let mut parts = rest.split(|char: char| char == '\'' || char.is_whitespace()).next()?.split('/');
        let (vendor, name, _, version) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some((format!("{vendor}/{name}"), version.to_owned()))
    });
    let file = path.display().to_string();
    // One table does not say which version it is of: the file is called `NAME_MODEL.sql`.
    let by_path = || {
        let (folder, name) = file.trim_end_matches(".sql").rsplit_once('/')?;
        let name = name.trim_start_matches("migrate_").split("_r").next()?;
        let (name, model) = name.rsplit_once('_')?;
        Some((format!("{}/{name}", folder.rsplit('/').next()?), format!("{model}-")))
    };
    let schema = named.or_else(by_path).unwrap_or_default();
    Some(Reference { schema, columns, generated: text.contains("AUTO-GENERATED"), file })
}

/// Our columns: the fields with those of objects put beside them, by the names that Redshift has.
fn flat<'a>(prefix: &str, fields: &'a [ProposedField], found: &mut BTreeMap<String, &'a ProposedField>) {
    for field in fields {
        let name = legal_name(field.original.as_deref().unwrap_or(&field.name));
        let path = format!("{prefix}{name}");
        if *field.ty.required() == FieldType::Object {
            flat(&format!("{path}."), &field.members, found);
        }
        found.insert(path, field);
    }
}

/// A column's name without what tables write differently: `visitor.full_name`, `visitorfullname`.
fn key(name: &str) -> String {
    name.split('.').map(legal_name).collect::<String>().replace('_', "")
}

/// Why a column of one type stands for one of the other.
fn explained(theirs: &str, field: &ProposedField) -> Option<&'static str> {
    let base = theirs.split('(').next().unwrap_or_default();
    let size: Option<u32> =
        theirs.split_once('(').and_then(|(_, size)| size.trim_end_matches(')').parse().ok());
    let text = ["varchar", "char"].contains(&base);
    let number = ["smallint", "int", "integer", "bigint", "double", "float", "decimal", "numeric", "real"]
        .contains(&base);
    Some(match field.ty.required() {
        FieldType::Array(_) | FieldType::Map(_) | FieldType::Json | FieldType::Object if text => {
            "lists, maps and JSON are texts in Redshift"
        }
        FieldType::Any if text => "values of several types are texts in Redshift",
        FieldType::Scalar(scalar) => match scalar {
            Scalar::String if text && field.max_length.is_some() && size == field.max_length => "the same",
            Scalar::String | Scalar::Url | Scalar::Email if text && field.max_length.is_none() => {
                "a text without a limit has one in Redshift"
            }
            Scalar::String | Scalar::Url | Scalar::Email if text => {
                "Redshift counts bytes, or has a limit of another version; ours is the schema's"
            }
            Scalar::Enum(_) if text => "listed words are texts in Redshift",
            Scalar::Uuid | Scalar::Ip if text => "formats are texts in Redshift",
            Scalar::Timestamp(_) if base == "timestamp" => "the same",
            Scalar::Date if base == "date" => "the same",
            Scalar::Bool if base == "boolean" => "the same",
            Scalar::Integer { .. } if ["smallint", "int", "integer", "bigint"].contains(&base) => {
                "Redshift has neither 8 bits nor numbers without a sign; ours follow the bounds"
            }
            Scalar::Integer { .. } | Scalar::Float { .. } | Scalar::Decimal { .. } | Scalar::Bool if text => {
                "some tables have texts for numbers and truth values"
            }
            Scalar::Decimal { .. } if base == "decimal" => "the same",
            Scalar::Float { .. } if ["double", "float", "real"].contains(&base) => "the same",
            Scalar::Float { .. } | Scalar::Decimal { .. } if number => {
                "numbers with a fraction: Redshift's table says otherwise of how many digits"
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Why a column of theirs is not among ours.
fn absent(name: &str, ours: &BTreeMap<String, &ProposedField>) -> Option<&'static str> {
    let mut path = name;
    while let Some((outer, _)) = path.rsplit_once('.') {
        path = outer;
        if let Some(field) = ours.get(path)
            && *field.ty.required() != FieldType::Object
        {
            return Some("it is inside of a value that is kept whole");
        }
    }
    None
}

/// Every column of either table, with the rule by which it stands for what the other has.
fn differences(
    reference: &Reference,
    ours: &BTreeMap<String, &ProposedField>,
) -> Vec<(String, Option<&'static str>)> {
    let by_key: BTreeMap<String, &ProposedField> =
        ours.iter().map(|(name, field)| (key(name), *field)).collect();
    let theirs: Vec<&Column> =
        reference.columns.iter().filter(|(name, _)| !ENVELOPE.contains(&name.as_str())).collect();
    let mut found = Vec::new();
    for (name, ty) in &theirs {
        let here = by_key.get(&key(name));
        let why = here.map_or_else(|| absent(name, ours), |field| explained(ty, field));
        found.push((format!("{name}: {ty}, here {:?}", here.map(|field| field.ty.to_string())), why));
    }
    let within = |outer: &str, inner: &str| inner.starts_with(&format!("{outer}."));
    for (name, field) in
        ours.iter().filter(|(name, _)| !theirs.iter().any(|(theirs, _)| key(theirs) == key(name)))
    {
        let whole = theirs.iter().any(|(theirs, _)| within(theirs, name));
        let split = theirs.iter().any(|(theirs, _)| within(name, theirs));
        let why = match field.ty.required() {
            // Its members are columns.
            FieldType::Object => continue,
            _ if whole => "Redshift keeps the value whole, as a text",
            FieldType::Any | FieldType::Json if split => {
                "a value of several types, of which Redshift has the object's members"
            }
            FieldType::Any | FieldType::Json if theirs.is_empty() => {
                "a schema without members: here the record is kept whole"
            }
            _ if !reference.generated => "a table by hand lacks a column that the schema has",
            _ => {
                found.push((format!("{name}: only here, `{}`", field.ty), None));
                continue;
            }
        };
        found.push((name.clone(), Some(why)));
    }
    found
}

#[test]
fn every_difference_from_the_reference_tables_has_a_rule() {
    let Some(folder) = central::folder() else { return };
    let imported = central::settled(&folder);
    let find = |schema: &(String, String)| -> Option<&Imported> {
        let path = format!("/{}/jsonschema/{}", schema.0, schema.1);
        imported
            .iter()
            .find(|one| one.file.ends_with(&path) || (path.ends_with('-') && one.file.contains(&path)))
    };
    let sql = central::files(&folder.join("sql"));
    let references: Vec<Reference> = sql.iter().filter_map(|path| reference(path)).collect();
    assert_eq!(references.len(), 228);
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for reference in &references {
        let Some(one) = find(&reference.schema) else {
            unexplained.push(format!("{}: no schema {:?}", reference.file, reference.schema));
            continue;
        };
        let mut columns = BTreeMap::new();
        flat("", &one.event.fields, &mut columns);
        for (what, why) in differences(reference, &columns) {
            match why {
                Some(why) => *rules.entry(why).or_default() += 1,
                None => unexplained.push(format!("{} {what}", reference.file)),
            }
        }
    }
    for (rule, count) in &rules {
        println!("{count:>5} {rule}");
    }
    assert!(unexplained.is_empty(), "{} without a rule:\n{}", unexplained.len(), unexplained.join("\n"));
}

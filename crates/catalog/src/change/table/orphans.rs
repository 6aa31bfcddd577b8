//! Columns that the catalog does not have: they stay, say since when, and are dropped when somebody asks for it
//! and they are proved to hold nothing.

use jiff::civil::Date;
use tidegate_schema::quote;

use super::super::gate::Gate;
use super::super::shape::Column;
use super::super::{Action, Change, Class, Note, Plan, Proof};
use super::Compared;
use crate::expression::sql_text;

/// What begins the comment of a column that the catalog does not have any more; a day follows.
const DEPRECATED: &str = "not in the catalog since ";

impl Compared<'_, '_> {
    /// Columns that the catalog does not have.
    pub(super) fn orphans(&self, plan: &mut Plan) {
        for (column, live) in self.table.columns.iter().filter(|(column, _)| self.orphan(column)) {
            let thing = format!("{}.{column}", self.name);
            let permission = self.planner.permission();
            let since = live.comment.strip_prefix(DEPRECATED).and_then(|rest| rest.get(..10));
            if permission.dropped(&thing) {
                plan.changes.push(self.dropped(column, live, since));
                continue;
            }
            match since {
                Some(since) => {
                    let text = format!(
                        "{DEPRECATED}{since}; nothing writes it; `--drop {thing}` drops it {}",
                        match left(since, permission.today.as_str(), permission.deprecate_days) {
                            0 => "when no row that came since has a value".to_owned(),
                            days => format!("in {days} days, or when no row has a value"),
                        }
                    );
                    plan.notes.push(Note { thing, text });
                }
                None => plan.changes.push(self.deprecated(column, live)),
            }
        }
    }

    fn deprecated(&self, column: &str, live: &Column) -> Change {
        let alter =
            format!("ALTER TABLE {} COMMENT COLUMN {}", self.planner.altered(self.name), quote(column));
        let today = &self.planner.permission().today;
        let comment = match live.comment.as_str() {
            "" => format!("{DEPRECATED}{today}"),
            comment => format!("{DEPRECATED}{today}: {comment}"),
        };
        let days = self.planner.permission().deprecate_days;
        Change {
            thing: format!("{}.{column}", self.name),
            class: Class::Deprecate,
            reason: format!("the catalog does not have this column; it stays for {days} days at least"),
            gate: Gate::Open,
            proofs: Vec::new(),
            actions: vec![Action::run(format!("{alter} {}", sql_text(&comment)))],
            undo: Some(format!("{alter} {}", sql_text(&live.comment))),
            cost: None,
        }
    }

    fn dropped(&self, column: &str, live: &Column, since: Option<&str>) -> Change {
        let alter = format!("ALTER TABLE {}", self.planner.altered(self.name));
        let (name, place) = (quote(column), self.planner.place(self.name));
        let permission = self.planner.permission();
        let empty = format!("toString(defaultValueOfTypeName({}))", sql_text(live.ty.as_str()));
        let held = format!("ifNull(toString({name}), '') != ifNull({empty}, '')");
        let heir = self.planner.renames.iter().find(|((table, new), old)| {
            table == self.name && old.as_str() == column && self.table.columns.contains_key(new)
        });
        let mut actions = Vec::new();
        let age = since.filter(|since| left(since, &permission.today, permission.deprecate_days) == 0);
        let (claim, sql) = match (heir, age) {
            (Some(((_, new), _)), _) => {
                if let Some(wanted) = self.wanted.table.columns.get(new) {
                    actions.extend(self.new_default(new, wanted, &alter));
                }
                let other = format!("ifNull(toString({name}), '') != ifNull(toString({}), '')", quote(new));
                (format!("rows whose `{column}` is not in `{new}`"), format!("countIf({held} AND {other})"))
            }
            (None, Some(since)) if self.table.columns.contains_key("_timestamp") => {
                let came =
                    format!("`_timestamp` >= toDateTime64('{since} 00:00:00', 3, 'UTC') + INTERVAL 1 DAY");
                (
                    format!("rows since {since} that have a value in `{column}`"),
                    format!("countIf({came} AND {held})"),
                )
            }
            (None, _) => (format!("rows that have a value in `{column}`"), format!("countIf({held})")),
        };
        actions.push(Action::run(format!("{alter} DROP COLUMN IF EXISTS {name}")));
        let thing = format!("{}.{column}", self.name);
        Change {
            thing: thing.clone(),
            class: Class::Destructive,
            reason: "the catalog does not have this column".to_owned(),
            gate: Gate::Asked { flag: format!("--drop {thing}") },
            proofs: vec![Proof { claim, sql: format!("SELECT {sql} FROM {place}") }],
            actions,
            undo: Some(format!("{alter} ADD COLUMN IF NOT EXISTS {}", live.definition)),
            cost: None,
        }
    }
}

/// How many days are left of the time that a deprecated column stays; all of them if a day is none.
fn left(since: &str, today: &str, stays: u32) -> u32 {
    let (Ok(since), Ok(today)) = (since.parse::<Date>(), today.parse::<Date>()) else { return stays };
    let passed = u32::try_from((today - since).get_days()).unwrap_or(0);
    stays.saturating_sub(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(left("2026-11-22", "2026-11-22", 90), 90);
        assert_eq!(left("2024-02-28", "2024-03-01", 90), 88);
        assert_eq!(left("2025-12-31", "2026-01-01", 90), 89);
        assert_eq!(left("2026-01-01", "2026-12-01", 90), 0);
        assert_eq!(left("soon", "2026-12-01", 90), 90);
    }
}

//! What a connector does to personal data, from the configuration's words to those of the codec.

use anyhow::Context;
use tidegate_codec::{Period, PersonalAction, PersonalColumn, PseudonymKey};
use tidegate_config as config;
use tidegate_native::Type;

/// What happens to a column's values; `None` if they are stored as they come.
///
/// # Errors
/// When the type of what comes is none, or the class lacks its key.
pub fn of_column(
    connector: &config::Connector,
    column: &config::Column,
) -> anyhow::Result<Option<PersonalColumn>> {
    let class = column.personal_data.as_ref().and_then(|name| connector.personal_data.get(name));
    let Some(action) = class.map(action).transpose()?.flatten() else { return Ok(None) };
    let clear = column.clear_type.as_deref().map(Type::parse).transpose().context("read `clear_type`")?;
    Ok(Some(PersonalColumn { clear, action }))
}

fn action(class: &config::PersonalClass) -> anyhow::Result<Option<PersonalAction>> {
    Ok(Some(match class.action {
        config::PersonalAction::Keep => return Ok(None),
        config::PersonalAction::Drop => PersonalAction::Drop,
        config::PersonalAction::Pseudonymise => {
            let key = class.key.as_ref().context("its class has no `key`")?;
            let key = PseudonymKey::new(key.expose().as_bytes())?;
            PersonalAction::Pseudonymise { key, per: class.per.clone() }
        }
        config::PersonalAction::Truncate => PersonalAction::Truncate {
            characters_max: class.characters_max.map(|max| max as usize),
            ipv4_prefix: u8::try_from(class.ipv4_prefix)?,
            ipv6_prefix: u8::try_from(class.ipv6_prefix)?,
        },
        config::PersonalAction::Generalise => PersonalAction::Generalise {
            step: class.step,
            to: match class.to {
                config::Period::Day => Period::Day,
                config::Period::Month => Period::Month,
                config::Period::Year => Period::Year,
            },
        },
    }))
}

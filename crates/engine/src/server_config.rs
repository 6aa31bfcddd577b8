//! The generated configuration of the server: limits, users, grants.
//!
//! A local server always logs itself in as `default` with no password, to run the query that keeps it
//! up, so that account has to exist. It may hold one session (`max_sessions_for_user`) and that query
//! holds it, from before the first listener opens: nobody else gets in as `default`.

use openssl::sha::sha256;

use crate::credentials::{Credentials, Passwords, hex};
use crate::folder::Parts;
use crate::{BiUser, EngineOptions};

/// How many inserts a table remembers tokens of. Far above what one sink can have in doubt; a table
/// states its own where it wants another.
const DEDUPLICATION_WINDOW: u32 = 10_000;

/// `config.xml`. `nonce` is what the running server tells apart from any other by.
pub(crate) fn server_xml(options: &EngineOptions, parts: &Parts, nonce: &str) -> String {
    let backups = xml_text(&parts.backups().to_string_lossy());
    // A relative path would start at the working folder of the engine's process.
    let log = xml_text(&parts.server_log().to_string_lossy());
    let memory = options.memory_max_bytes;
    // The caches' defaults suit a machine of their own (5 GiB of marks); here they get an eighth.
    let cache = memory / 8;
    let fsync = u8::from(options.power_loss_safe);
    // `log-level`: a local server overwrites `logger.level`. `old_parts_lifetime`: a local server has 0,
    // and would remove a merge's sources before its result has reached the disk.
    format!(
        "<clickhouse>
  <log-level>warning</log-level>
  <logger><log>{log}</log><size>20M</size><count>2</count></logger>
  <users_config>users.xml</users_config>
  <timezone>UTC</timezone>
  <backups><allowed_path>{backups}</allowed_path></backups>
  <macros><{MACRO}>{nonce}</{MACRO}></macros>
  <max_connections>256</max_connections>
  <max_concurrent_queries>100</max_concurrent_queries>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>{cache}</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <merge_tree>
    <old_parts_lifetime>480</old_parts_lifetime>
    <non_replicated_deduplication_window>{DEDUPLICATION_WINDOW}</non_replicated_deduplication_window>
    <fsync_after_insert>{fsync}</fsync_after_insert>
    <fsync_part_directory>{fsync}</fsync_part_directory>
  </merge_tree>
  {query_log}
  {part_log}
  <prometheus><endpoint>/metrics</endpoint><metrics>true</metrics><events>true</events></prometheus>
</clickhouse>
",
        query_log = system_log("query_log"),
        part_log = system_log("part_log"),
    )
}

/// The name of the macro that holds the nonce.
pub(crate) const MACRO: &str = "tidegate_engine";

fn system_log(table: &str) -> String {
    format!(
        "<{table}><database>system</database><table>{table}</table><ttl>event_date + INTERVAL 3 DAY DELETE</ttl>\
         <flush_interval_milliseconds>7500</flush_interval_milliseconds></{table}>"
    )
}

/// `users.xml`. Only hashes stand in it: the engine's process can read it, and so can whoever may run a
/// query. The passwords are random, so that a plain hash hides them well.
pub(crate) fn users_xml(options: &EngineOptions, passwords: &Passwords) -> String {
    let pipeline = passwords.pipeline(&options.users.pipeline);
    let memory = options.memory_max_bytes;
    let bi = options.users.bi.as_ref().map_or_else(String::new, |bi| bi_xml(bi, passwords));
    format!(
        "<clickhouse>
  <profiles>
    <default/>
    {readonly}
    <hold><max_sessions_for_user>1</max_sessions_for_user></hold>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default><password></password>{LOCAL}<profile>hold</profile><quota>default</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query><query>GRANT READ ON FILE</query>\
<query>GRANT CREATE TEMPORARY TABLE ON *.*</query></grants></default>
    <{user}>{password}{LOCAL}<profile>default</profile><quota>default</quota></{user}>
{bi}  </users>
</clickhouse>
",
        readonly = readonly_xml(memory),
        user = pipeline.user,
        password = password_xml(&pipeline),
    )
}

fn password_xml(credentials: &Credentials) -> String {
    let hash = hex(&sha256(credentials.password().as_bytes()));
    format!("<password_sha256_hex>{hash}</password_sha256_hex>")
}

/// What keeps a reader from taking the engine away from the pipeline. Readers may change settings, as
/// clients do with every query (`readonly` 2), but for these.
fn readonly_xml(memory: u64) -> String {
    let limits = [
        ("max_memory_usage", memory / 2),
        ("max_memory_usage_for_user", memory / 2),
        ("max_execution_time", 600),
        ("max_concurrent_queries_for_user", 20),
        ("max_temporary_data_on_disk_size_for_user", 16 << 30),
    ];
    let values = limits.map(|(name, value)| format!("<{name}>{value}</{name}>")).concat();
    let fixed = limits.map(|(name, _)| format!("<{name}><const/></{name}>")).concat();
    format!("<readonly><readonly>2</readonly>{values}<constraints>{fixed}</constraints></readonly>")
}

const LOCAL: &str = "<networks><ip>127.0.0.1</ip></networks>";

/// It reads every database but `default`, which shows the files that the engine's process can open.
fn bi_xml(bi: &BiUser, passwords: &Passwords) -> String {
    let credentials = passwords.bi(&bi.name);
    format!(
        "    <{user}>{password}{LOCAL}<profile>readonly</profile><quota>default</quota><grants>\
<query>GRANT SELECT, SHOW, dictGet ON *.*</query><query>REVOKE SELECT, SHOW, dictGet ON default.*</query>\
</grants></{user}>\n",
        user = credentials.user,
        password = password_xml(&credentials),
    )
}

/// `text` as the content of an element.
fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Whether `name` may stand in XML and in a grant as it is: a letter or `_`, then letters, digits, `_`;
/// at most 64 bytes.
pub(crate) fn plain_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= 64
        && name.bytes().all(word)
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_mean_something_in_xml_or_sql_are_not_plain() {
        for name in ["events", "_x", "A1"] {
            assert!(plain_name(name), "{name}");
        }
        for name in ["", "1a", "a-b", "a.b", "a`b", "</users>", "ä", &"x".repeat(65)] {
            assert!(!plain_name(name), "{name}");
        }
    }
}

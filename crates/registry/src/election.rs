//! Who writes: several registries on one topic elect a leader, by Confluent's group protocol, so that
//! theirs and ours can stand side by side.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_kafka::{Candidate, MembershipOptions};

/// Confluent's name for groups of registries, and for how they decide.
const PROTOCOL_TYPE: &str = "sr";
const PROTOCOL: &str = "v0";

/// How a registry takes part in the election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectionOptions {
    /// The group; Confluent's default is `schema-registry`.
    pub group: String,
    /// Where the other registries reach this one.
    pub advertised: Advertised,
    /// Whether this one may lead.
    pub eligible: bool,
    /// How it reaches the one that does, if that asks for TLS.
    pub tls: LeaderTls,
}

/// How a registry trusts the one that writes, and shows who it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LeaderTls {
    /// Certificate authorities to trust beside the system's, PEM.
    pub authorities: Option<Vec<u8>>,
    /// A certificate chain, PEM, and its private key, PEM in PKCS #8: shown to whoever asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for LeaderTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (authorities, identity) = (self.authorities.is_some(), self.identity.is_some());
        f.debug_struct("LeaderTls").field("authorities", &authorities).field("identity", &identity).finish()
    }
}

/// A registry's address, as others use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// `http` or `https`.
    pub scheme: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Who writes, as this registry sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// This one does.
    Leader,
    /// Another does, at this URL.
    Follower(String),
    /// Nobody does yet.
    Undecided,
}

/// What a member tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    version: i32,
    host: String,
    port: u16,
    master_eligibility: bool,
    #[serde(default = "http")]
    scheme: String,
    #[serde(default)]
    leader: bool,
}

fn http() -> String {
    "http".to_owned()
}

impl Identity {
    fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.port)
    }
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Decision {
    version: i32,
    error: i16,
    master: Option<String>,
    master_identity: Option<Identity>,
}

/// Two members have one URL, so that writes would go astray.
const DUPLICATE_URLS: i16 = 1;

impl ElectionOptions {
    /// The membership that takes part.
    #[must_use]
    pub fn membership(&self) -> MembershipOptions {
        let Advertised { scheme, host, port } = self.advertised.clone();
        let identity =
            Identity { version: 1, host, port, master_eligibility: self.eligible, scheme, leader: false };
        MembershipOptions {
            group: self.group.clone(),
            protocol_type: PROTOCOL_TYPE,
            protocol: PROTOCOL,
            metadata: serde_json::to_vec(&identity).unwrap_or_default(),
            assign: decide,
        }
    }
}

/// Decides for all: of those that may lead the one with the smallest URL does, as in Confluent's. A member
/// that tells nothing that can be read does not take part.
fn decide(candidates: &[Candidate]) -> Vec<u8> {
    let read = |one: &Candidate| {
        let identity: Option<Identity> = serde_json::from_slice(&one.metadata).ok();
        identity.map(|identity| (one.member.clone(), identity))
    };
    let members: Vec<(String, Identity)> = candidates.iter().filter_map(read).collect();
    let mut urls: Vec<String> = members.iter().map(|(_, identity)| identity.url()).collect();
    urls.sort();
    let twice = urls.windows(2).any(|pair| pair[0] == pair[1]);
    let eligible = members.into_iter().filter(|(_, identity)| identity.master_eligibility && !twice);
    let leader = eligible.min_by_key(|(_, identity)| identity.url());
    let (master, master_identity) = leader.unzip();
    let error = if twice { DUPLICATE_URLS } else { 0 };
    serde_json::to_vec(&Decision { version: 1, error, master, master_identity }).unwrap_or_default()
}

/// What a decision means for a member.
///
/// # Errors
/// If it cannot be read, or says that members share a URL.
pub fn role(member: &str, assignment: &[u8]) -> Result<Role, String> {
    let decision: Decision =
        serde_json::from_slice(assignment).map_err(|error| format!("the election's decision: {error}"))?;
    if decision.error == DUPLICATE_URLS {
        return Err(
            "two registries of the group advertise one URL; give each its own with --advertise".to_owned()
        );
    }
    if decision.error != 0 {
        return Err(format!("the election failed with error {}", decision.error));
    }
    Ok(match (decision.master, decision.master_identity) {
        (Some(master), _) if master == member => Role::Leader,
        (_, Some(identity)) => Role::Follower(identity.url()),
        (_, None) => Role::Undecided,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(member: &str, host: &str, eligible: bool) -> Candidate {
        let advertised = Advertised { scheme: http(), host: host.to_owned(), port: 8081 };
        let options =
            ElectionOptions { group: "g".to_owned(), advertised, eligible, tls: LeaderTls::default() };
        Candidate { member: member.to_owned(), metadata: options.membership().metadata }
    }

    #[test]
    fn the_smallest_url_that_may_lead_does_and_all_know() {
        let all = [candidate("1", "b", true), candidate("2", "a", false), candidate("3", "c", true)];
        let decided = decide(&all);
        assert_eq!(role("1", &decided), Ok(Role::Leader));
        assert_eq!(role("2", &decided), Ok(Role::Follower("http://b:8081".to_owned())));
        assert_eq!(role("2", &decide(&all[1..2])), Ok(Role::Undecided));
    }

    #[test]
    fn what_is_told_is_what_confluents_registry_tells() {
        let told = candidate("1", "h", true).metadata;
        assert_eq!(
            String::from_utf8(told).unwrap(),
            r#"{"version":1,"host":"h","port":8081,"master_eligibility":true,"scheme":"http","leader":false}"#
        );
    }

    #[test]
    fn two_registries_with_one_url_lead_nobody() {
        let decided = decide(&[candidate("1", "a", true), candidate("2", "a", true)]);
        assert!(role("1", &decided).unwrap_err().contains("--advertise"));
        assert!(role("1", b"{").is_err());
    }
}

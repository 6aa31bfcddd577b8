//! Who may do what: HTTP Basic authentication with two roles.

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, Method, header};
use thiserror::Error;

use crate::problem::Problem;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Ask, look up and compare.
    Reader,
    /// Everything.
    Writer,
}

/// A user. Its password is never printed.
#[derive(Clone)]
pub struct User {
    name: String,
    password: String,
    role: Role,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A line that says no user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected `name:password:reader` or `name:password:writer`")]
pub struct NoUser;

impl FromStr for User {
    type Err = NoUser;

    fn from_str(line: &str) -> Result<Self, NoUser> {
        let (rest, role) = line.trim().rsplit_once(':').ok_or(NoUser)?;
        let (name, password) = rest.split_once(':').ok_or(NoUser)?;
        let role = match role {
            "reader" => Role::Reader,
            "writer" => Role::Writer,
            _ => return Err(NoUser),
        };
        if name.is_empty() || password.is_empty() {
            return Err(NoUser);
        }
        Ok(Self { name: name.to_owned(), password: password.to_owned(), role })
    }
}

/// The users of a registry; without any, everybody may do everything.
#[derive(Debug, Clone, Default)]
pub struct Users(pub Vec<User>);

impl Users {
    /// Whether a request may be answered.
    pub(super) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let credentials = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let credentials = credentials.and_then(|text| text.strip_prefix("Basic ")).and_then(decode);
        let user = credentials.and_then(|(name, password)| {
            // Every user is looked at whole: how long it takes says nothing about names or passwords.
            let mut found = None;
            for user in &self.0 {
                if same(&user.name, &name) & same(&user.password, &password) {
                    found = Some(user);
                }
            }
            found
        });
        match user {
            None => Err(Problem::new(401, "HTTP 401 Unauthorized")),
            Some(user) if user.role == Role::Reader && !reads(method, path) => {
                Err(Problem::new(403, format!("user `{}` may read only", user.name)))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether a request changes nothing: looking up and comparing are sent as POST.
fn reads(method: &Method, path: &str) -> bool {
    let registers = path.trim_end_matches('/').ends_with("/versions") && !path.contains("/compatibility/");
    match *method {
        Method::GET | Method::HEAD => true,
        Method::POST => !registers,
        _ => false,
    }
}

/// Whether two texts are the same, in a time that depends on their lengths alone.
fn same(ours: &str, theirs: &str) -> bool {
    let differing = ours.bytes().zip(theirs.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    (ours.len() == theirs.len()) & (differing == 0)
}

/// Name and password out of Base64.
fn decode(text: &str) -> Option<(String, String)> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut n_bits) = (0_u32, 0_u32);
    for digit in text.trim().trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xFF_FFFF;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(u8::try_from(bits >> n_bits & 0xFF).ok()?);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, authorization: &str) -> Option<u32> {
        let users = Users(vec!["ann:se:cret:writer".parse().unwrap(), "bob:b:reader".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        users.check(&method, path, &headers).err().map(|problem| problem.code)
    }

    #[test]
    fn readers_ask_look_up_and_compare_and_writers_do_everything() {
        let (ann, bob) = ("Basic YW5uOnNlOmNyZXQ=", "Basic Ym9iOmI=");
        assert_eq!(check(Method::POST, "/subjects/s/versions", ann), None);
        assert_eq!(check(Method::GET, "/subjects", bob), None);
        assert_eq!(check(Method::POST, "/subjects/s", bob), None);
        assert_eq!(check(Method::POST, "/compatibility/subjects/s/versions", bob), None);
        assert_eq!(check(Method::POST, "/subjects/s/versions", bob), Some(403));
        assert_eq!(check(Method::POST, "/contexts/.c/subjects/s/versions/", bob), Some(403));
        assert_eq!(check(Method::DELETE, "/subjects/s", bob), Some(403));
        assert_eq!(check(Method::PUT, "/config", bob), Some(403));
        for wrong in ["Basic Ym9iOmM=", "Basic !", "Bearer x", ""] {
            assert_eq!(check(Method::GET, "/subjects", wrong), Some(401));
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let user: User = "ann:secret:writer".parse().unwrap();
        assert!(!format!("{user:?}").contains("secret"));
        for line in ["ann", "ann:x", "ann:x:king", ":x:reader", "ann::reader"] {
            assert_eq!(line.parse::<User>().unwrap_err(), NoUser);
        }
    }
}

//! Who may ask: an Authorization header in, yes or no out. Passwords are compared by bcrypt, which is slow on purpose, so
//! outcomes are remembered.
//!
//! Names and passwords stand in no log line and no error.

use crate::model::Secret;
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// So many outcomes of each kind are remembered.
const REMEMBERED: usize = 1000;
/// So many passwords are compared at a time: a flood of wrong ones must leave processors for the probes.
const AT_A_TIME: usize = 2;

/// The users, and the outcomes of earlier comparisons. New users come as a new value, which remembers nothing.
pub(super) struct Users {
    hashes: BTreeMap<String, Secret>,
    /// Compared with when the name is unknown, so that the answer takes its time as well.
    stand_in: Secret,
    outcomes: Mutex<Outcomes>,
    turns: Arc<Semaphore>,
}

impl Users {
    /// Names and bcrypt hashes. `None` when there are none: then anybody may ask.
    pub(super) fn new(hashes: &BTreeMap<String, Secret>) -> Option<Self> {
        let cost = |hash: &Secret| hash.expose().parse().map_or(0, |parts: bcrypt::HashParts| parts.get_cost());
        let stand_in = hashes.values().max_by_key(|hash| cost(hash))?.clone();
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        Some(Self { hashes: hashes.clone(), stand_in, outcomes: Mutex::default(), turns })
    }

    /// Whether the header names a user and that user's password.
    pub(super) async fn admit(self: &Arc<Self>, authorization: Option<&HeaderValue>) -> bool {
        let Some(login) = authorization.and_then(Login::read) else { return false };
        let known = self.hashes.get(&login.name);
        let attempt = Attempt::new(login, known.is_some(), known.unwrap_or(&self.stand_in));
        if let Some(outcome) = self.lock().of(&attempt.key) {
            return outcome;
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let users = Arc::clone(self);
        // The turn ends with the comparison, not with the client's patience.
        let compared = tokio::task::spawn_blocking(move || {
            let outcome = users.settle(&attempt);
            drop(turn);
            outcome
        });
        compared.await.unwrap_or(false)
    }

    /// Somebody else may have asked the same while this one waited.
    fn settle(&self, attempt: &Attempt) -> bool {
        let remembered = self.lock().of(&attempt.key);
        remembered.unwrap_or_else(|| {
            let outcome = attempt.succeeds();
            self.lock().remember(attempt.key, outcome);
            outcome
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name and a password, as they came.
struct Login {
    name: String,
    password: Zeroizing<Vec<u8>>,
}

impl Login {
    /// Reads `Basic` credentials (RFC 7617).
    fn read(authorization: &HeaderValue) -> Option<Self> {
        let (scheme, encoded) = authorization.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(BASE64_STANDARD.decode(encoded.trim()).ok()?);
        let colon = pair.iter().position(|&byte| byte == b':')?;
        let name = str::from_utf8(&pair[..colon]).ok()?.to_owned();
        Some(Self { name, password: Zeroizing::new(pair[colon + 1..].to_vec()) })
    }
}

/// A password to compare.
struct Attempt {
    known: bool,
    hash: Secret,
    password: Zeroizing<Vec<u8>>,
    key: Key,
}

type Key = [u8; 32];

impl Attempt {
    fn new(login: Login, known: bool, hash: &Secret) -> Self {
        let mut digest = Sha256::new();
        // Each length first: no two different triples are the same bytes.
        for part in [login.name.as_bytes(), hash.expose().as_bytes(), &login.password] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self { known, hash: hash.clone(), password: login.password, key: digest.finalize().into() }
    }

    /// Compares in any case; a stranger is refused also with a known user's password.
    fn succeeds(&self) -> bool {
        bcrypt::verify(self.password.as_slice(), self.hash.expose()).unwrap_or(false) & self.known
    }
}

/// What came of earlier attempts. Wrong ones have their own room: many of them do not make right ones forgotten.
#[derive(Default)]
struct Outcomes {
    right: Recent,
    wrong: Recent,
}

impl Outcomes {
    fn of(&self, key: &Key) -> Option<bool> {
        if self.right.keys.contains(key) {
            return Some(true);
        }
        self.wrong.keys.contains(key).then_some(false)
    }

    fn remember(&mut self, key: Key, outcome: bool) {
        if outcome { self.right.add(key) } else { self.wrong.add(key) }
    }
}

/// The last keys, the oldest first to go.
#[derive(Default)]
struct Recent {
    keys: HashSet<Key>,
    order: VecDeque<Key>,
}

impl Recent {
    fn add(&mut self, key: Key) {
        if self.keys.insert(key) {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> Secret {
        Secret::new(bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string())
    }

    fn users() -> Arc<Users> {
        let hashes = [("alice", "secret"), ("bob", "other"), ("carol", "")];
        let hashes = hashes.map(|(name, password)| (name.to_owned(), hash(password)));
        Arc::new(Users::new(&BTreeMap::from(hashes)).unwrap())
    }

    fn basic(pair: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).unwrap()
    }

    #[tokio::test]
    async fn only_a_known_name_with_its_own_password_is_admitted() {
        let users = users();
        // Twice: compared, then remembered.
        for _ in 0..2 {
            for (pair, admitted) in [
                ("alice:secret", true),
                ("bob:other", true),
                ("carol:", true),
                ("alice:other", false),
                ("alice:secret ", false),
                ("alice:", false),
                ("alice", false),
                ("Alice:secret", false),
                ("mallory:secret", false),
                ("mallory:", false),
                (":", false),
                ("", false),
            ] {
                assert_eq!(users.admit(Some(&basic(pair))).await, admitted, "{pair}");
            }
        }
        assert!(!users.admit(None).await);
        let encoded = BASE64_STANDARD.encode("alice:secret");
        for (header, admitted) in [
            (format!("bAsIc  {encoded}"), true),
            (format!("Bearer {encoded}"), false),
            (encoded, false),
            ("Basic".into(), false),
            ("Basic !!".into(), false),
        ] {
            assert_eq!(users.admit(Some(&HeaderValue::from_str(&header).unwrap())).await, admitted, "{header}");
        }
    }

    #[tokio::test]
    async fn outcomes_are_remembered_and_forgotten_within_bounds() {
        let users = users();
        assert!(users.admit(Some(&basic("alice:secret"))).await);
        assert!(!users.admit(Some(&basic("alice:wrong"))).await);
        {
            let mut outcomes = users.lock();
            assert_eq!((outcomes.right.order.len(), outcomes.wrong.order.len()), (1, 1));
            for n in 0..3 * REMEMBERED as u64 {
                outcomes.remember(Sha256::digest(n.to_be_bytes()).into(), false);
            }
            assert_eq!((outcomes.wrong.keys.len(), outcomes.wrong.order.len()), (REMEMBERED, REMEMBERED));
            assert_eq!(outcomes.right.keys.len(), 1, "wrong passwords made a right one forgotten");
        }
        // No comparison can take place any more: only what is remembered is answered.
        users.turns.forget_permits(AT_A_TIME);
        assert!(users.admit(Some(&basic("alice:secret"))).await);
    }

    #[test]
    fn different_logins_have_different_keys() {
        let secret = hash("x");
        let key = |name: &str, password: &str| {
            let login = Login { name: name.into(), password: Zeroizing::new(password.into()) };
            Attempt::new(login, true, &secret).key
        };
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_ne!(key("a", "b"), key("b", "a"));
        assert_eq!(key("a", "b"), key("a", "b"));
    }
}

//! Whom the cluster trusts: its authorities, the tokens it has given out, its time.
//!
//! An authority's private key is part of the state: any member can sign, and the loss of one board loses nothing. These records say nothing of
//! what a certificate means, what proves a token or who may ask for a change; a role is a number here. Nor is there a clock: times come with the
//! entries, in seconds since 1970.
//!
//! Invariants:
//! - until the cluster is founded there is nothing to change; to found it again changes nothing, so asking twice does no harm;
//! - it has one authority, or two while one takes over from the other. Both are trusted; the newest signs for clients, and the one that is
//!   *shown* for nodes, so that a client has time to learn the new one before the first node shows it. The one shown is never dropped;
//! - a token names the authority that is shown when it is made; when another is shown, the tokens made before are gone with it;
//! - a token is granted no more often than it says and not from its end on; an id in the table is never overwritten, which would bring back
//!   one that is used up;
//! - cluster time never goes back. Only founding and [`TrustChange::Time`] move it: a member whose clock is ahead ages no certificate by letting
//!   somebody in;
//! - debug output shows neither a private key nor the hash of a secret, with which one proves to have the secret itself;
//! - both tables and every record have a bound; what goes beyond it changes nothing.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use storage::{Scan, StateStore, Write};

use super::{Run, end_of_prefix};
use crate::{Error, KEY_MAX_BYTES, Malformed};

/// One that signs, and one that it takes over from.
pub const AUTHORITIES_MAX: usize = 2;
/// Certificate and private key of one authority.
pub const AUTHORITY_MAX_BYTES: usize = 8 << 10;
/// Tokens known at a time. In a full table those that grant nothing any more make room.
pub const TOKENS_MAX: usize = 64;

const CLUSTER_KEY: &[u8] = b"tcluster";
const TOKENS: &[u8] = b"ttoken";
const CLUSTER_FORMAT: u8 = 1;
const TOKEN_FORMAT: u8 = 1;

/// Names a token; drawn at random by whoever makes it.
pub type TokenId = [u8; 8];

/// What is to become of the cluster's trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrustChange {
    /// The first authority.
    Found {
        authority: AuthorityRecord,
        voters_wanted: u8,
        at: u64,
    },
    /// From now on this one is trusted too, and signs for clients; the one before it is still shown.
    AddAuthority(AuthorityRecord),
    DropAuthority {
        hash: [u8; 32],
    },
    WantVoters(u8),
    AddToken(TokenRecord),
    RevokeToken {
        id: TokenId,
    },
    /// Somebody has proved to have the token. A time before cluster time counts as cluster time.
    UseToken {
        id: TokenId,
        at: u64,
    },
    Time {
        at: u64,
    },
    /// From now on nodes show certificates of the newest authority. Tokens that name the other go.
    ShowNewest,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRecord {
    /// Of the certificate.
    pub hash: [u8; 32],
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub id: TokenId,
    pub secret_hash: [u8; 32],
    pub grants: TokenGrant,
    /// From this cluster time on it grants nothing; `None`: for ever.
    pub expires: Option<u64>,
    /// `None`: any number.
    pub uses_left: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenGrant {
    Node,
    /// Role: 0 read, 1 write, 2 admin. An empty prefix is that of every key.
    Client {
        role: u8,
        prefix: Vec<u8>,
    },
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrustOutcome {
    /// Done. Of a use: granted, also where uses are not counted.
    Changed,
    /// It is so already, or it cannot be.
    Unchanged,
    TokenUnknown,
    TokenExpired,
    TokenUsedUp,
    /// What was to be added is beyond a bound, in number or in size.
    TooMany,
}

/// Who signs for the cluster, how many voters it is to have, and what time it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// Newest first.
    pub authorities: Vec<AuthorityRecord>,
    /// Hash of the one whose certificates the nodes show.
    pub shown: [u8; 32],
    pub voters_wanted: u8,
    pub time: u64,
}

/// None until the cluster is founded.
pub fn trust(store: &dyn StateStore) -> Result<Option<Trust>, Error> {
    Ok(store.peek(CLUSTER_KEY, Trust::decode)?.transpose()?)
}

/// Every token in the table, also those that grant nothing any more, in order of their ids.
pub fn tokens(store: &dyn StateStore) -> Result<Vec<TokenRecord>, Error> {
    let all = Scan { start: TOKENS.to_vec(), end: end_of_prefix(TOKENS), max_items: TOKENS_MAX + 1, max_bytes: usize::MAX };
    let found = store.scan(&all)?;
    if found.len() > TOKENS_MAX {
        return Err(Malformed("table of tokens").into());
    }
    found.iter().map(|(key, record)| Ok(TokenRecord::decode(key, record)?)).collect()
}

pub fn token(store: &dyn StateStore, id: TokenId) -> Result<Option<TokenRecord>, Error> {
    let key = token_key(&id);
    Ok(store.peek(&key, |record| TokenRecord::decode(&key, record))?.transpose()?)
}

impl fmt::Debug for AuthorityRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorityRecord").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenRecord { id, secret_hash: _, grants, expires, uses_left } = self;
        f.debug_struct("TokenRecord")
            .field("id", id)
            .field("grants", grants)
            .field("expires", expires)
            .field("uses_left", uses_left)
            .finish_non_exhaustive()
    }
}

/// All of it, as it is while entries are applied.
#[derive(Debug)]
pub(super) struct Ledger {
    cluster: Option<Trust>,
    tokens: BTreeMap<TokenId, TokenRecord>,
}

impl Run<'_> {
    pub(super) fn entrust(&mut self, change: TrustChange) -> Result<TrustOutcome, Error> {
        let ledger = match &mut self.trust {
            Some(ledger) => ledger,
            none => none.insert(Ledger::of(self.store)?),
        };
        Ok(ledger.take(change, &mut self.writes))
    }
}

impl Ledger {
    fn of(store: &dyn StateStore) -> Result<Ledger, Error> {
        let tokens = tokens(store)?.into_iter().map(|token| (token.id, token)).collect();
        Ok(Ledger { cluster: trust(store)?, tokens })
    }

    fn take(&mut self, change: TrustChange, writes: &mut Vec<Write>) -> TrustOutcome {
        match change {
            TrustChange::Found { .. } if self.cluster.is_some() => TrustOutcome::Unchanged,
            TrustChange::Found { authority, .. } if authority.is_too_large() => TrustOutcome::TooMany,
            TrustChange::Found { authority, voters_wanted, at } => {
                let founded = Trust { shown: authority.hash, authorities: vec![authority], voters_wanted, time: at };
                writes.push(founded.write());
                self.cluster = Some(founded);
                TrustOutcome::Changed
            }
            TrustChange::AddAuthority(authority) => self.edit(writes, |trust| trust.add(authority)),
            TrustChange::DropAuthority { hash } => self.edit(writes, |trust| trust.remove(&hash)),
            TrustChange::ShowNewest => self.show_newest(writes),
            TrustChange::WantVoters(count) => self.edit(writes, |trust| set(&mut trust.voters_wanted, count)),
            TrustChange::Time { at } => self.edit(writes, |trust| trust.advance(at)),
            TrustChange::AddToken(token) => self.add(token, writes),
            TrustChange::RevokeToken { id } => match self.tokens.remove(&id) {
                Some(_) => {
                    writes.push(Write::Delete(token_key(&id)));
                    TrustOutcome::Changed
                }
                None => TrustOutcome::TokenUnknown,
            },
            TrustChange::UseToken { id, at } => self.grant(id, at, writes),
        }
    }

    fn edit(&mut self, writes: &mut Vec<Write>, edit: impl FnOnce(&mut Trust) -> TrustOutcome) -> TrustOutcome {
        let Some(trust) = &mut self.cluster else { return TrustOutcome::Unchanged };
        let outcome = edit(trust);
        if outcome == TrustOutcome::Changed {
            writes.push(trust.write());
        }
        outcome
    }

    fn add(&mut self, token: TokenRecord, writes: &mut Vec<Write>) -> TrustOutcome {
        let Some(Trust { time, .. }) = self.cluster else { return TrustOutcome::Unchanged };
        if self.tokens.contains_key(&token.id) {
            return TrustOutcome::Unchanged;
        }
        if token.is_too_large() {
            return TrustOutcome::TooMany;
        }
        if self.tokens.len() >= TOKENS_MAX {
            let spent = self.tokens.extract_if(.., |_, token| token.grants_at(time) != TrustOutcome::Changed);
            writes.extend(spent.map(|(id, _)| Write::Delete(token_key(&id))));
        }
        if self.tokens.len() >= TOKENS_MAX {
            return TrustOutcome::TooMany;
        }
        writes.push(token.write());
        self.tokens.insert(token.id, token);
        TrustOutcome::Changed
    }

    fn show_newest(&mut self, writes: &mut Vec<Write>) -> TrustOutcome {
        let outcome = self.edit(writes, |trust| {
            let newest = trust.authorities[0].hash;
            set(&mut trust.shown, newest)
        });
        if outcome == TrustOutcome::Changed {
            let void = std::mem::take(&mut self.tokens);
            writes.extend(void.keys().map(|id| Write::Delete(token_key(id))));
        }
        outcome
    }

    fn grant(&mut self, id: TokenId, at: u64, writes: &mut Vec<Write>) -> TrustOutcome {
        let now = at.max(self.cluster.as_ref().map_or(0, |trust| trust.time));
        let Some(token) = self.tokens.get_mut(&id) else { return TrustOutcome::TokenUnknown };
        let outcome = token.grants_at(now);
        if let (TrustOutcome::Changed, Some(left)) = (outcome, &mut token.uses_left) {
            *left -= 1;
            writes.push(token.write());
        }
        outcome
    }
}

impl Trust {
    /// The one whose certificates the nodes show.
    pub fn shown(&self) -> &AuthorityRecord {
        self.authorities.iter().find(|authority| authority.hash == self.shown).expect("the one shown is never dropped")
    }

    fn add(&mut self, authority: AuthorityRecord) -> TrustOutcome {
        if self.authorities.iter().any(|known| known.hash == authority.hash) {
            return TrustOutcome::Unchanged;
        }
        if self.authorities.len() >= AUTHORITIES_MAX || authority.is_too_large() {
            return TrustOutcome::TooMany;
        }
        self.authorities.insert(0, authority);
        TrustOutcome::Changed
    }

    fn remove(&mut self, hash: &[u8; 32]) -> TrustOutcome {
        match self.authorities.iter().position(|known| known.hash == *hash) {
            Some(at) if *hash != self.shown => {
                self.authorities.remove(at);
                TrustOutcome::Changed
            }
            _ => TrustOutcome::Unchanged,
        }
    }

    fn advance(&mut self, at: u64) -> TrustOutcome {
        let newest = at.max(self.time);
        set(&mut self.time, newest)
    }

    fn write(&self) -> Write {
        let record = postcard::to_extend(self, vec![CLUSTER_FORMAT]).expect("trust always has a form");
        Write::Put(CLUSTER_KEY.to_vec(), record)
    }

    fn decode(bytes: &[u8]) -> Result<Trust, Malformed> {
        let body = bytes.strip_prefix(&[CLUSTER_FORMAT]).ok_or(Malformed("trust of an unknown format"))?;
        match postcard::take_from_bytes::<Trust>(body) {
            Ok((trust, [])) if trust.authorities.iter().any(|authority| authority.hash == trust.shown) => Ok(trust),
            _ => Err(Malformed("trust")),
        }
    }
}

impl TrustChange {
    /// How many bytes of it are of no fixed length.
    pub(crate) fn about_bytes(&self) -> usize {
        match self {
            TrustChange::Found { authority, .. } | TrustChange::AddAuthority(authority) => authority.cert.len() + authority.key.len(),
            TrustChange::AddToken(TokenRecord { grants: TokenGrant::Client { prefix, .. }, .. }) => prefix.len(),
            _ => 0,
        }
    }
}

impl AuthorityRecord {
    fn is_too_large(&self) -> bool {
        self.cert.len() + self.key.len() > AUTHORITY_MAX_BYTES
    }
}

impl TokenRecord {
    fn is_too_large(&self) -> bool {
        matches!(&self.grants, TokenGrant::Client { prefix, .. } if prefix.len() > KEY_MAX_BYTES)
    }

    /// What a use at this time leads to.
    fn grants_at(&self, now: u64) -> TrustOutcome {
        match (self.expires, self.uses_left) {
            (Some(end), _) if end <= now => TrustOutcome::TokenExpired,
            (_, Some(0)) => TrustOutcome::TokenUsedUp,
            _ => TrustOutcome::Changed,
        }
    }

    fn write(&self) -> Write {
        let record = postcard::to_extend(self, vec![TOKEN_FORMAT]).expect("a token always has a form");
        Write::Put(token_key(&self.id), record)
    }

    /// `key` is where it lies. Under another's key it would be listed and not found, and a use of it would be written beside it: how often it
    /// grants would depend on where batches end.
    fn decode(key: &[u8], bytes: &[u8]) -> Result<TokenRecord, Malformed> {
        let body = bytes.strip_prefix(&[TOKEN_FORMAT]).ok_or(Malformed("token of an unknown format"))?;
        match postcard::take_from_bytes::<TokenRecord>(body) {
            Ok((token, [])) if token_key(&token.id) == key => Ok(token),
            _ => Err(Malformed("token")),
        }
    }
}

fn set<T: PartialEq>(place: &mut T, value: T) -> TrustOutcome {
    if *place == value {
        return TrustOutcome::Unchanged;
    }
    *place = value;
    TrustOutcome::Changed
}

fn token_key(id: &TokenId) -> Vec<u8> {
    [TOKENS, id].concat()
}

//! What an operator carries from one board to the next: `rkv1.<hash>.<id and secret>`, in base64url without padding.
//!
//! Invariants:
//! - The hash is that of the authority's certificate: whoever holds the token recognises the cluster.
//! - The secret is shown by `Display` alone, on purpose. The cluster keeps its hash only.
//! - One token has one spelling.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use crate::{Error, hex, random};

/// Length of every token's text.
pub const TOKEN_BYTES: usize = MARK.len() + HASH_CHARS + 1 + SECRET_CHARS;

#[derive(Clone)]
pub struct Token {
    pub ca_hash: [u8; 32],
    /// By which the cluster finds what it knows of this token; no secret.
    pub id: [u8; 8],
    secret: [u8; 16],
}

impl Token {
    /// A new one, for joiners who are to believe the authority with this hash.
    pub fn make(ca_hash: [u8; 32]) -> Result<Token, Error> {
        Ok(Token { ca_hash, id: random::bytes()?, secret: random::bytes()? })
    }

    /// What the cluster keeps of the secret, and what proofs are made with. The secret is 128 random bits, so a plain hash suffices.
    pub fn secret_hash(&self) -> [u8; 32] {
        digest::digest(&digest::SHA256, &self.secret).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = [&self.id[..], &self.secret].concat();
        write!(f, "{MARK}{}.{}", URL_SAFE_NO_PAD.encode(self.ca_hash), URL_SAFE_NO_PAD.encode(secret))
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Token, Error> {
        let rest = text.strip_prefix(MARK).ok_or_else(|| wrong("it does not begin with rkv1."))?;
        let (hash, secret) = rest.split_once('.').ok_or_else(|| wrong("it has no second part"))?;
        if (hash.len(), secret.len()) != (HASH_CHARS, SECRET_CHARS) {
            return Err(wrong("it is not of the right length; was it copied in full?"));
        }
        let secret: [u8; ID_BYTES + SECRET_BYTES] = decode(secret)?;
        let (id, secret) = secret.split_at(ID_BYTES);
        Ok(Token {
            ca_hash: decode(hash)?,
            id: id.try_into().expect("an id is as long as an id"),
            secret: secret.try_into().expect("the rest is as long as a secret"),
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &hex::encode(&self.id)).finish_non_exhaustive()
    }
}

const MARK: &str = "rkv1.";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 16;
const HASH_CHARS: usize = 43;
const SECRET_CHARS: usize = 32;

fn decode<const N: usize>(text: &str) -> Result<[u8; N], Error> {
    // What is wrong is not repeated: it may be a secret with one character mistyped.
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong("a part of it is not base64url"))?;
    bytes.try_into().map_err(|_| wrong("a part of it is not of the right length"))
}

fn wrong(why: &'static str) -> Error {
    Error::malformed("token", why)
}

//! Bytes that nobody can guess, from the operating system.

use ring::rand::{SecureRandom, SystemRandom};

use crate::Error;

pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::NoRandomness("the operating system gave none".into()))?;
    Ok(bytes)
}

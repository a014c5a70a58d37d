//! Bytes that others sent, cut and bent: each is refused or read as what it says, and none makes a panic.

use trust::{Authority, Credentials, KeyPair, Token, joining_name, pinned_config, subject_of};

use crate::world::*;

/// Every beginning of `good`, then copies with bits flipped, bytes replaced, cut out or put in.
fn bent(good: &[u8], seed: u64, rounds: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut random = dice(seed);
    let good = good.to_vec();
    let beginnings = good.clone();
    let cut = (0..good.len()).map(move |bytes| beginnings[..bytes].to_vec());
    let changed = (0..rounds).map(move |_| {
        let mut bytes = good.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes[at] = [0, 0x7f, 0x80, 0x82, 0x84, 0xff, 0x30, 0x03][random(8)],
                2 => drop(bytes.drain(at..(at + 1 + random(8)).min(bytes.len()))),
                _ => bytes.insert(at, random(256) as u8),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    });
    cut.chain(changed)
}

const ROUNDS: usize = 4_000;

#[test]
fn bent_certificates_are_read_or_refused() {
    let garden = Cluster::new(1);
    let (node, mut read) = (garden.client(5), 0);
    for leaf in bent(&node.leaf, 3, ROUNDS) {
        let credentials = Credentials { leaf, ..node.clone() };
        read += usize::from(credentials.subject().is_ok());
        let _ = (credentials.expires(), credentials.renew_at(), format!("{credentials:?}"));
    }
    assert!((100..ROUNDS).contains(&read), "the noise must reach both outcomes: {read} read");
}

#[test]
fn no_bent_certificate_is_believed() {
    let garden = Cluster::new(1);
    let (ours, theirs) = (garden.node(1), garden.node(2));
    let (server, caller, pinned) = (serve(&ours), call(&ours), pinned_config(garden.authority.hash()));
    let ca = garden.authority.cert_der();
    for leaf in bent(&theirs.leaf, 4, 200).filter(|leaf| !leaf.is_empty() && *leaf != theirs.leaf) {
        let rogue = rogue_server(&[&leaf, ca], &theirs.key);
        assert!(meet(&rogue, &caller, garden.name()).is_err());
        assert!(meet(&rogue, &pinned, joining_name()).is_err());
        assert!(meet(&server, &rogue_caller(&[&leaf, ca], &theirs.key), garden.name()).is_err());
    }
}

#[test]
fn bent_authorities_are_read_or_refused_and_never_pinned() {
    let garden = Cluster::new(1);
    let node = garden.node(1);
    let pinned = pinned_config(garden.authority.hash());
    for (round, cert) in bent(garden.authority.cert_der(), 5, ROUNDS).filter(|cert| cert != garden.authority.cert_der()).enumerate() {
        let _ = Authority::from_der(&cert, garden.authority.key_der());
        let credentials = Credentials { authorities: vec![cert.clone()], ..node.clone() };
        let _ = (trust::server_config(&credentials, at(NOW)), trust::client_config(&credentials, at(NOW)));
        if round % 20 == 0 {
            assert!(meet(&rogue_server(&[&node.leaf, &cert], &node.key), &pinned, joining_name()).is_err());
        }
    }
}

#[test]
fn bent_requests_are_refused_or_sign_the_key_that_was_there() {
    let garden = Cluster::new(1);
    let subject = garden.client(5).subject().unwrap();
    let key = KeyPair::make().unwrap();
    let csr = key.csr().unwrap();
    for csr in bent(&csr, 6, ROUNDS).filter(|bent| *bent != csr) {
        if let Ok(leaf) = garden.authority.sign(&csr, &subject, NOW, LIFE_S) {
            let signed = Credentials { leaf, key: key.key_der().to_vec(), authorities: vec![garden.authority.cert_der().to_vec()] };
            assert!(trust::client_config(&signed, at(NOW)).is_ok(), "another key was signed");
        }
    }
}

#[test]
fn bent_keys_are_read_or_refused() {
    let garden = Cluster::new(1);
    let node = garden.node(1);
    for key in bent(&node.key, 7, ROUNDS).filter(|key| *key != node.key) {
        if let Ok(read) = KeyPair::from_pkcs8(&key) {
            assert!(read.csr().is_ok());
        }
        let _ = Authority::from_der(garden.authority.cert_der(), &key);
        let _ = trust::server_config(&Credentials { key, ..node.clone() }, at(NOW));
    }
}

#[test]
fn bent_tokens_are_refused_or_are_what_they_say() {
    let good = Token::make([9; 32]).unwrap().to_string();
    let mut accepted = 0;
    for text in bent(good.as_bytes(), 8, ROUNDS * 10) {
        if let Ok(token) = String::from_utf8_lossy(&text).parse::<Token>() {
            accepted += 1;
            assert_eq!(token.to_string().as_bytes(), text);
        }
    }
    assert!(accepted > 100, "the noise must reach both outcomes: {accepted} accepted");
}

#[test]
fn what_is_longer_than_its_bound_is_not_parsed_at_all() {
    let garden = Cluster::new(1);
    let node = garden.node(1);
    let long = vec![0x30; 1 << 20];
    let too_long = |why: trust::Error| assert!(matches!(why, trust::Error::TooLong { .. }), "{why}");
    too_long(subject_of(&long).unwrap_err());
    too_long(Credentials { leaf: long.clone(), ..node.clone() }.expires().unwrap_err());
    too_long(Credentials { leaf: long.clone(), ..node.clone() }.renew_at().unwrap_err());
    too_long(KeyPair::from_pkcs8(&long).unwrap_err());
    too_long(Authority::from_der(&long, garden.authority.key_der()).unwrap_err());
    too_long(garden.authority.sign(&long, &node.subject().unwrap(), NOW, LIFE_S).unwrap_err());
}

use trust::{Error, KeyPair, Token, exporter, joining_name, pinned_config, prove, verify_proof};

use crate::world::*;

fn session(garden: &Cluster) -> Session {
    meet(&serve(&garden.node(1)), &pinned_config(garden.authority.hash()), joining_name()).unwrap()
}

#[test]
fn both_ends_of_a_session_and_only_they_know_its_exporter() {
    let garden = Cluster::new(1);
    let (one, other) = (session(&garden), session(&garden));
    let known = exporter(&one.caller).unwrap();
    assert_eq!(exporter(&one.server), Ok(known));
    assert_ne!(exporter(&other.caller), Ok(known));
}

#[test]
fn a_proof_is_good_for_its_session_its_request_and_its_secret_alone() {
    let garden = Cluster::new(1);
    let (one, other) = (session(&garden), session(&garden));
    let token = Token::make(garden.authority.hash()).unwrap();
    let (csr, other_csr) = (KeyPair::make().unwrap().csr().unwrap(), KeyPair::make().unwrap().csr().unwrap());
    let proof = prove(&token.secret_hash(), &exporter(&one.caller).unwrap(), &csr);

    let here = exporter(&one.server).unwrap();
    assert!(verify_proof(&token.secret_hash(), &here, &csr, &proof));
    assert!(!verify_proof(&token.secret_hash(), &here, &other_csr, &proof));
    let guess = Token::make(garden.authority.hash()).unwrap();
    assert!(!verify_proof(&guess.secret_hash(), &here, &csr, &proof));
    // Replayed later, or relayed by one who is the client of the true server and the server of the true client.
    let there = exporter(&other.server).unwrap();
    assert!(!verify_proof(&token.secret_hash(), &there, &csr, &proof));
}

#[test]
fn a_changed_cut_or_lengthened_proof_is_none() {
    let (secret, exporter, csr) = ([1; 32], [2; 32], [3; 100]);
    let proof = prove(&secret, &exporter, &csr);
    for bit in 0..256 {
        let mut changed = proof;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify_proof(&secret, &exporter, &csr, &changed));
    }
    for bytes in 0..32 {
        assert!(!verify_proof(&secret, &exporter, &csr, &proof[..bytes]));
    }
    assert!(!verify_proof(&secret, &exporter, &csr, &[&proof[..], &[0]].concat()));
    assert!(verify_proof(&secret, &exporter, &csr, &proof));
}

/// Two builds of different age must agree on it, so it is written down here, reckoned by another program.
#[test]
fn the_proof_of_fixed_values_is_what_it_always_was() {
    assert_eq!(hex(&prove(&[1; 32], &[2; 32], b"request")), KNOWN_PROOF);
}

const KNOWN_PROOF: &str = "ea29c10bb154ac748f9bf3d3495c58d1b4c81ce8bf22f0dea027586ad134fdb8";

#[test]
fn a_token_survives_its_text() {
    for _ in 0..100 {
        let token = Token::make([9; 32]).unwrap();
        let text = token.to_string();
        assert_eq!(text.len(), trust::TOKEN_BYTES);
        let read: Token = text.parse().unwrap();
        assert_eq!((read.ca_hash, read.id, read.secret_hash()), (token.ca_hash, token.id, token.secret_hash()));
        assert_eq!(read.to_string(), text);
    }
}

#[test]
fn the_text_of_a_token_is_what_it_always_was() {
    let token: Token = KNOWN_TOKEN.parse().unwrap();
    assert_eq!((token.ca_hash, token.id), ([0xff; 32], [0, 1, 2, 3, 4, 5, 6, 7]));
    assert_eq!(hex(&token.secret_hash()), KNOWN_SECRET_HASH);
}

const KNOWN_TOKEN: &str = "rkv1.__________________________________________8.AAECAwQFBgcQERITFBUWFxgZGhscHR4f";
const KNOWN_SECRET_HASH: &str = "fc2e2c73072bfa2bda03ff9307472debd3cc8105028a8a9e235e35ba8d2e37f4";

#[test]
fn no_two_tokens_share_an_id_or_a_secret() {
    let (one, other) = (Token::make([9; 32]).unwrap(), Token::make([9; 32]).unwrap());
    assert_ne!(one.id, other.id);
    assert_ne!(one.secret_hash(), other.secret_hash());
}

#[test]
fn every_malformed_token_is_refused_without_being_repeated() {
    let good = Token::make([9; 32]).unwrap().to_string();
    let (hash, secret) = good["rkv1.".len()..].split_once('.').unwrap();
    for bad in [
        String::new(),
        "rkv1".into(),
        "rkv1.".into(),
        "rkv1..".into(),
        format!("rkv2.{hash}.{secret}"),
        format!("RKV1.{hash}.{secret}"),
        format!(" rkv1.{hash}.{secret}"),
        format!("rkv1.{hash}.{secret}\n"),
        format!("rkv1.{hash}"),
        format!("rkv1.{hash}."),
        format!("rkv1.{secret}.{hash}"),
        format!("rkv1.{hash}{secret}"),
        format!("rkv1.{hash}.{secret}."),
        format!("rkv1.{hash}.{secret}A"),
        format!("rkv1.{hash}=.{secret}"),
        format!("rkv1.{}.{secret}", &hash[1..]),
        format!("rkv1.{hash}.{}", &secret[1..]),
        format!("rkv1.{}+.{secret}", &hash[1..]),
        format!("rkv1.{hash}./{}", &secret[1..]),
        // The last character of the hash has two bits to spare: only one spelling of them is good.
        format!("rkv1.{}B.{secret}", &hash[..42]),
        format!("rkv1.{}é.{secret}", &hash[2..]),
        "x".repeat(1 << 20),
    ] {
        let why = bad.parse::<Token>().expect_err(&bad).to_string();
        assert!(!why.contains(&secret[1..]) && why.len() < 100, "{why}");
    }
}

#[test]
fn debug_shows_no_secret_of_a_token() {
    let token = Token::make([9; 32]).unwrap();
    let shown = format!("{token:?} {token:#?}");
    let text = token.to_string();
    assert!(shown.contains(&hex(&token.id)));
    assert!(!shown.contains(&text[text.len() - 16..]));
    assert!(shown.len() < 120, "there is no room for a secret in whatever form: {shown}");
}

#[test]
fn errors_of_tls_say_so() {
    let garden = Cluster::new(1);
    let early = rustls::ClientConnection::new(pinned_config(garden.authority.hash()), joining_name()).unwrap();
    assert!(matches!(exporter(&early), Err(Error::Tls(_))), "before its handshake a session has nothing to export");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

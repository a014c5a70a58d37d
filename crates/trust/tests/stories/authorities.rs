use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, SanType};
use rustls::pki_types::CertificateDer;
use trust::{Authority, CLUSTER_NAME_MAX_BYTES, Credentials, Error, Grant, KeyPair, PREFIX_MAX_BYTES, Role, Subject, UnixSecs, Who};
use trust::{joining_name, pinned_config, subject_of};

use crate::world::*;

#[test]
fn an_authority_that_was_kept_signs_what_the_first_one_did() {
    let garden = Cluster::new(1);
    let kept = Authority::from_der(garden.authority.cert_der(), garden.authority.key_der()).unwrap();
    assert_eq!((kept.cluster_id(), kept.hash()), (garden.id, garden.authority.hash()));
    let reread = Cluster { id: garden.id, authority: kept };
    meet(&serve(&garden.node(1)), &call(&reread.client(5)), garden.name()).unwrap();
    meet(&serve(&reread.node(1)), &pinned_config(garden.authority.hash()), joining_name()).unwrap();
}

#[test]
fn an_authority_is_not_read_with_anothers_key_nor_from_a_bearers_certificate() {
    let (garden, barn) = (Cluster::new(1), Cluster::new(2));
    let mismatched = Authority::from_der(garden.authority.cert_der(), barn.authority.key_der());
    assert_eq!(mismatched.unwrap_err(), Error::KeyMismatch);
    let node = garden.node(1);
    assert!(matches!(Authority::from_der(&node.leaf, &node.key), Err(Error::Malformed { what: "authority", .. })));
    assert!(matches!(subject_of(garden.authority.cert_der()), Err(Error::Malformed { what: "subject", .. })));
}

#[test]
fn an_authority_signs_for_its_own_cluster_only() {
    let garden = Cluster::new(1);
    let csr = KeyPair::make().unwrap().csr().unwrap();
    let elsewhere = Subject { cluster_id: [2; 16], who: Who::Node(1) };
    let refused = garden.authority.sign(&csr, &elsewhere, NOW, LIFE_S);
    assert_eq!(refused, Err(Error::OtherCluster { ours: [1; 16], theirs: [2; 16] }));
}

#[test]
fn a_request_decides_nothing_but_its_own_key() {
    let garden = Cluster::new(1);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = CertificateParams::default();
    wish.distinguished_name.push(DnType::CommonName, "node 0000000000000001");
    wish.subject_alt_names.push(SanType::URI(node_uri(&garden, 1).try_into().unwrap()));
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.extended_key_usages = BOTH.to_vec();
    wish.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], b"wish".to_vec()));
    let csr = wish.serialize_request(&key).unwrap().der().to_vec();

    let told = garden.client(5).subject().unwrap();
    let leaf = garden.authority.sign(&csr, &told, NOW, LIFE_S).unwrap();
    assert_eq!(subject_of(&leaf), Ok(told));
    assert!(!leaf.windows(4).any(|bytes| bytes == b"wish"));
    let wished = rogue_server(&[&leaf, garden.authority.cert_der()], &key.serialize_der());
    assert_says(&caller_refuses(&wished, &call(&garden.node(1)), garden.name()), "InvalidPurpose");
    let caller = rogue_caller(&[&leaf], &key.serialize_der());
    meet(&serve(&garden.node(1)), &caller, garden.name()).unwrap();
}

#[test]
fn a_request_for_a_key_that_its_sender_does_not_hold_is_refused() {
    let garden = Cluster::new(1);
    let subject = garden.client(5).subject().unwrap();
    let (mine, theirs) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut csr = CertificateParams::default().serialize_request(&mine).unwrap().der().to_vec();
    garden.authority.sign(&csr, &subject, NOW, LIFE_S).unwrap();
    let point = mine.public_key_raw();
    let place = csr.windows(point.len()).position(|bytes| bytes == point).unwrap();
    csr[place..place + point.len()].copy_from_slice(theirs.public_key_raw());
    assert_eq!(garden.authority.sign(&csr, &subject, NOW, LIFE_S), Err(Error::UnprovenRequest));
}

#[test]
fn a_request_for_a_key_of_another_kind_or_with_something_behind_it_is_refused() {
    let garden = Cluster::new(1);
    let subject = garden.client(5).subject().unwrap();
    for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        assert_says(&garden.authority.sign(csr.der(), &subject, NOW, LIFE_S).unwrap_err().to_string(), "P-256");
    }
    let csr = [KeyPair::make().unwrap().csr().unwrap(), vec![0]].concat();
    assert_says(&garden.authority.sign(&csr, &subject, NOW, LIFE_S).unwrap_err().to_string(), "follows");
}

#[test]
fn names_and_prefixes_end_where_their_bounds_are() {
    let longest = "g".repeat(CLUSTER_NAME_MAX_BYTES);
    assert!(Authority::make([1; 16], &longest, NOW).is_ok());
    assert!(matches!(Authority::make([1; 16], &(longest + "g"), NOW), Err(Error::TooLong { .. })));

    let garden = Cluster::new(1);
    let csr = KeyPair::make().unwrap().csr().unwrap();
    let sign = |bytes: usize| {
        let grant = Grant { role: Role::Admin, prefix: vec![0xff; bytes] };
        let subject = Subject { cluster_id: garden.id, who: Who::Client { id: u64::MAX, grant } };
        garden.authority.sign(&csr, &subject, NOW, LIFE_S).map(|leaf| (subject, leaf))
    };
    let (subject, leaf) = sign(PREFIX_MAX_BYTES).unwrap();
    assert_eq!(subject_of(&leaf), Ok(subject));
    assert!(leaf.len() < trust::CERTIFICATE_MAX_BYTES / 3, "{} bytes", leaf.len());
    assert!(matches!(sign(PREFIX_MAX_BYTES + 1), Err(Error::TooLong { .. })));
}

#[test]
fn credentials_know_when_they_end_and_when_to_be_renewed() {
    let garden = Cluster::new(1);
    for (start, life_s, renew, end) in [
        (NOW.0, 90, NOW.0 + 60, NOW.0 + 90),
        (NOW.0, 0, NOW.0, NOW.0),
        (0, 3, 2, 3),
        // From 2050 on, a certificate writes its times in another form.
        (2_600_000_000, 3_000, 2_600_002_000, 2_600_003_000),
        (NO_END - 30, 30, NO_END - 10, NO_END),
        (NO_END - 30, 100, NO_END - 10, NO_END),
    ] {
        let node = garden.issue(Who::Node(1), UnixSecs(start), life_s);
        assert_eq!((node.renew_at(), node.expires()), (Ok(UnixSecs(renew)), Ok(UnixSecs(end))), "signed at {start} for {life_s}");
    }
    for (start, life_s) in [(u64::MAX, u64::MAX), (0, u64::MAX), (u64::MAX, 0)] {
        let node = garden.issue(Who::Node(1), UnixSecs(start), life_s);
        assert_eq!(node.expires(), Ok(UnixSecs(NO_END)));
        assert!(node.renew_at().unwrap() <= UnixSecs(NO_END));
    }
}

/// The last second of the year 9999.
const NO_END: u64 = 253_402_300_799;

#[test]
fn two_certificates_of_one_second_have_different_serials() {
    let garden = Cluster::new(1);
    let serial = |cert: &[u8]| x509_parser::parse_x509_certificate(cert).unwrap().1.raw_serial().to_vec();
    assert_ne!(serial(&garden.node(1).leaf), serial(&garden.node(1).leaf));
}

#[test]
fn credentials_that_do_not_fit_together_make_no_config() {
    let (garden, barn) = (Cluster::new(1), Cluster::new(2));
    let node = garden.node(1);
    let both = |credentials: Credentials| {
        let server = trust::server_config(&credentials, at(NOW)).unwrap_err();
        assert_eq!(server, trust::client_config(&credentials, at(NOW)).unwrap_err());
        server
    };
    assert_eq!(both(Credentials { authorities: vec![barn.authority.cert_der().to_vec()], ..node.clone() }), Error::NoSigner);
    assert_eq!(both(Credentials { authorities: Vec::new(), ..node.clone() }), Error::Authorities { count: 0, most: 4 });
    let many = vec![node.authorities[0].clone(); 5];
    assert_eq!(both(Credentials { authorities: many, ..node.clone() }), Error::Authorities { count: 5, most: 4 });
    assert!(matches!(both(Credentials { key: garden.node(2).key, ..node.clone() }), Error::Tls(_)));
    assert!(matches!(both(Credentials { key: Vec::new(), ..node.clone() }), Error::Tls(_)));
    // A bearer among those trusted would be an authority in disguise.
    assert!(matches!(both(Credentials { authorities: vec![node.leaf.clone()], ..node.clone() }), Error::Malformed { .. }));
}

#[test]
fn debug_shows_no_private_key() {
    let garden = Cluster::new(1);
    let node = garden.node(1);
    let key = KeyPair::from_pkcs8(&node.key).unwrap();
    let shown = format!("{:?} {node:?} {key:?}", garden.authority);
    for secret in [&node.key[..], garden.authority.key_der()] {
        // Where PKCS 8 has the private number, and whatever surrounds it.
        let middle = &secret[36..60];
        assert!(!shown.contains(&format!("{middle:?}").trim_matches(['[', ']']).to_string()));
    }
    assert!(shown.contains("node/0000000000000001") && shown.len() < 500, "{shown}");
}

#[test]
fn a_key_survives_being_kept() {
    let key = KeyPair::make().unwrap();
    let kept = KeyPair::from_pkcs8(key.key_der()).unwrap();
    assert_eq!(kept.key_der(), key.key_der());
    let garden = Cluster::new(1);
    let leaf = garden.authority.sign(&kept.csr().unwrap(), &garden.node(1).subject().unwrap(), NOW, LIFE_S).unwrap();
    let credentials = Credentials { leaf, key: key.key_der().to_vec(), authorities: garden.node(1).authorities };
    meet(&serve(&credentials), &call(&credentials), garden.name()).unwrap();
}

/// Signed by a key of ours, in a form that others can read too.
#[test]
fn a_certificate_says_the_same_to_another_reader() {
    let garden = Cluster::new(1);
    let node = garden.node(0xa1);
    let der = CertificateDer::from(node.leaf.clone());
    let (rest, cert) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(rest.is_empty() && !cert.is_ca());
    assert_eq!(cert.validity().not_before.timestamp(), 0);
    assert_eq!(cert.subject().to_string(), "CN=node 00000000000000a1");
    let (_, authority) = x509_parser::parse_x509_certificate(garden.authority.cert_der()).unwrap();
    assert!(authority.is_ca());
    assert_eq!(cert.issuer(), authority.subject());
    assert_eq!(authority.validity().not_after.timestamp(), NO_END as i64);
}

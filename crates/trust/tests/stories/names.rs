use trust::{Grant, PREFIX_MAX_BYTES, Role, Subject, Who};

use crate::world::dice;

const NODE: &str = "rusty-kv://0102030405060708090a0b0c0d0e0f10/node/00000000000000a1";
const CLIENT: &str = "rusty-kv://0102030405060708090a0b0c0d0e0f10/client/ffffffffffffffff?role=write&prefix=63616d2f";

#[test]
fn a_subject_has_one_spelling_and_it_is_this() {
    let cluster_id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let node = Subject { cluster_id, who: Who::Node(0xa1) };
    let grant = Grant { role: Role::Write, prefix: b"cam/".to_vec() };
    let client = Subject { cluster_id, who: Who::Client { id: u64::MAX, grant } };
    assert_eq!((node.to_uri().as_str(), client.to_uri().as_str()), (NODE, CLIENT));
    assert_eq!((NODE.parse(), CLIENT.parse()), (Ok(node), Ok(client)));
}

#[test]
fn every_subject_survives_its_text() {
    let mut random = dice(1);
    for _ in 0..10_000 {
        let subject = any(&mut random);
        assert_eq!(subject.to_uri().parse(), Ok(subject));
    }
}

#[test]
fn every_malformed_subject_is_refused() {
    let prefix_bytes = PREFIX_MAX_BYTES + 1;
    for bad in [
        String::new(),
        "rusty-kv://".into(),
        NODE.replace("rusty-kv", "https"),
        NODE.replace("rusty-kv", "Rusty-kv"),
        NODE.replace("0a0b", "0A0B"),
        NODE.replace("0a0b", "0g0b"),
        NODE.replace("0a0b", "0a0"),
        NODE.replace("/node/", "/nod/"),
        NODE.replace("/node/", "//node/"),
        NODE.replace("/node/", "/client/"),
        NODE.replace("/node/", "/authority"),
        NODE.replace("00a1", "0a1"),
        NODE.replace("00a1", "+0a1"),
        NODE.replace("00a1", "000a1"),
        NODE.replace("00a1", "00A1"),
        NODE.replace("a1", "é"),
        format!("{NODE}/"),
        format!("{NODE} "),
        format!("{NODE}?role=read&prefix="),
        format!(" {NODE}"),
        CLIENT.replace("/client/", "/node/"),
        CLIENT.replace("write", "owner"),
        CLIENT.replace("write", "Write"),
        CLIENT.replace("write", ""),
        CLIENT.replace("&prefix=63616d2f", ""),
        CLIENT.replace("role=write&", ""),
        CLIENT.replace("?role=write&prefix=63616d2f", "?prefix=63616d2f&role=write"),
        CLIENT.replace("63616d2f", "63616d2"),
        CLIENT.replace("63616d2f", "63616d2F"),
        CLIENT.replace("63616d2f", "cam/"),
        CLIENT.replace("63616d2f", &"00".repeat(prefix_bytes)),
        format!("{CLIENT}&prefix="),
        format!("{CLIENT}&role=admin"),
        "0".repeat(1 << 20),
    ] {
        assert!(bad.parse::<Subject>().is_err(), "{bad}");
    }
    let longest = CLIENT.replace("63616d2f", &"00".repeat(PREFIX_MAX_BYTES));
    assert_eq!(longest.parse::<Subject>().unwrap().to_uri(), longest);
}

/// Mutations of good ones reach further into the parser than pure noise.
#[test]
fn a_changed_subject_is_refused_or_is_what_it_says() {
    let mut random = dice(2);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut text = any(&mut random).to_uri().into_bytes();
        for _ in 0..=random(2) {
            let at = random(text.len());
            match random(3) {
                0 => text[at] = b"0123456789abcdefF/?&=nrw"[random(24)],
                1 => drop(text.remove(at)),
                _ => text.insert(at, b"0af/?&="[random(7)]),
            }
        }
        let text = String::from_utf8(text).unwrap();
        if let Ok(subject) = text.parse::<Subject>() {
            accepted += 1;
            assert_eq!(subject.to_uri(), text);
        }
    }
    assert!((1_000..49_000).contains(&accepted), "the noise must reach both outcomes: {accepted} accepted");
}

#[test]
fn a_role_includes_those_below_it() {
    let roles = [Role::Read, Role::Write, Role::Admin];
    for (has, role) in roles.into_iter().enumerate() {
        assert_eq!(role.to_string().parse(), Ok(role));
        for (needs, needed) in roles.into_iter().enumerate() {
            let grant = Grant { role, prefix: Vec::new() };
            assert_eq!(grant.allows(needed, None), has >= needs);
            assert_eq!(grant.allows(needed, Some(b"any")), has >= needs);
        }
    }
    assert!("root".parse::<Role>().is_err());
}

#[test]
fn a_prefix_narrows_every_role() {
    for role in [Role::Read, Role::Write, Role::Admin] {
        let grant = Grant { role, prefix: b"cam/".to_vec() };
        for needed in [Role::Read, Role::Write, Role::Admin] {
            let enough = role >= needed;
            for inside in [&b"cam/"[..], b"cam/1", b"cam/\xff\0"] {
                assert_eq!(grant.allows(needed, Some(inside)), enough);
            }
            // A listing is asked for by its prefix: a shorter one would show what lies beside.
            for outside in [&b""[..], b"c", b"cam", b"cam0", b"Cam/", b"\0cam/"] {
                assert!(!grant.allows(needed, Some(outside)));
            }
            assert_eq!(grant.allows(needed, None), needed == Role::Read, "only the status concerns no key and is for everybody");
        }
    }
}

fn any(random: &mut impl FnMut(usize) -> usize) -> Subject {
    let mut cluster_id = [0; 16];
    cluster_id.fill_with(|| random(256) as u8);
    let id = u64::from_be_bytes([0; 8].map(|_: u8| random(256) as u8)) >> random(64);
    let who = match random(2) {
        0 => Who::Node(id),
        _ => {
            let role = [Role::Read, Role::Write, Role::Admin][random(3)];
            let prefix = (0..random(20)).map(|_| random(256) as u8).collect();
            Who::Client { id, grant: Grant { role, prefix } }
        }
    };
    Subject { cluster_id, who }
}

//! A user's logins, as files.

use std::cell::OnceCell;

use crate::{circle, login::Logins, shelf::Shelf};

thread_local! {
    static SHELVES: OnceCell<[Shelf; 2]> = const { OnceCell::new() };
}

/// A login, or none; one that is kept again is the same.
pub fn login_file(bytes: &[u8]) {
    SHELVES.with(|shelves| {
        let [given, kept] = shelves.get_or_init(|| [Shelf::new(), Shelf::new()]);
        given.put(&format!("{}.toml", "07".repeat(16)), bytes);
        for login in Logins::at(given.path().to_owned()).load() {
            let _ = (login.grant(), login.tls(), login.trusts(&trust::hash_of(circle::AUTHORITY)));
            let logins = Logins::at(kept.path().to_owned());
            logins.store(&login).expect("memory can be written");
            let again = logins.meant(None).expect("just written");
            assert_eq!((again.cluster_id, &again.cluster_name), (login.cluster_id, &login.cluster_name), "of another cluster");
            assert_eq!((again.grant(), again.tls().is_ok()), (login.grant(), login.tls().is_ok()), "it lets another one in");
            assert_eq!(again.peers, login.peers, "it leads elsewhere");
        }
    });
}

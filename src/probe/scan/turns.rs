//! One scan at a time per address, or per way through a proxy: servers take many handshakes at once for an attack.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The addresses that are scanned or waited for: no more than there are scans under way.
static TURNS: LazyLock<Mutex<HashMap<String, Weak<Turn<()>>>>> = LazyLock::new(Mutex::default);

/// Waits until no other scan of `address` is under way. Dropping the guard lets the next one begin.
pub(in crate::probe) async fn turn(address: &str) -> OwnedMutexGuard<()> {
    let turn = {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        turns.get(address).and_then(Weak::upgrade).unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(address.to_owned(), Arc::downgrade(&turn));
            turn
        })
    };
    turn.lock_owned().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn one_address_one_turn() {
        let [here, there] = ["192.0.2.1:443", "192.0.2.2:443"];
        let first = turn(here).await;
        assert!(turn(here).now_or_never().is_none());
        assert!(turn(there).now_or_never().is_some());
        drop(first);
        assert!(turn(here).now_or_never().is_some());
        let _again = turn(there).await;
        assert!(!TURNS.lock().unwrap().contains_key(here));
    }
}

//! Identities that somebody else names, asked about again while they are in use.

use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;

use super::Shared;
use crate::auth::{Asked, Auth, LOOK_MAX};

/// Questions of this kind under way at a time.
const QUESTIONS_AT_ONCE: usize = 64;

impl Shared {
    /// Asks again, from the first question on, about those who have streams and sessions, and has
    /// them looked at where an answer makes a difference. Settings may name another to be asked.
    pub(crate) fn follow_asked(&self, auth: &Auth) {
        self.asks_again.call_once(|| {
            tokio::spawn(ask_again(self.me.clone(), auth.clone()));
        });
    }
}

async fn ask_again(shared: Weak<Shared>, auth: Auth) {
    let turns = Arc::new(Semaphore::new(QUESTIONS_AT_ONCE));
    loop {
        let look = auth.asked().map_or(LOOK_MAX, |asked| asked.look());
        tokio::time::sleep(look).await;
        let Some(now) = shared.upgrade() else { return };
        let Some(asked) = auth.asked() else { continue };
        wake_those_with_news(&now, &asked);
        drop(now);
        for source in asked.due() {
            let Ok(turn) = turns.clone().acquire_owned().await else { return };
            let (asked, shared) = (asked.clone(), shared.clone());
            tokio::spawn(async move {
                asked.again(&source).await;
                if let Some(shared) = shared.upgrade() {
                    wake_those_with_news(&shared, &asked);
                }
                drop(turn);
            });
        }
    }
}

fn wake_those_with_news(shared: &Shared, asked: &Asked) {
    if asked.take_news() {
        shared.wake_all();
    }
}

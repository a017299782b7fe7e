//! Drives hyper's connection inside the probe's own future.
//!
//! hyper wants its connection, and HTTP/2's helper tasks, to be spawned. A spawned task would outlive the probe's deadline
//! and keep its socket; so they are polled here, beside whatever waits for them, and dropped with it.

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::rt::Executor;
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the tasks that hyper wants to spawn.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

impl Tasks {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection under way. Dropping it closes the socket.
pub(in crate::probe) struct Driver {
    queued: Tasks,
    running: FuturesUnordered<Task>,
}

impl Driver {
    /// Takes over `connection` and whatever is queued in `tasks`.
    pub(super) fn new(connection: impl Future<Output = hyper::Result<()>> + Send + 'static, queued: Tasks) -> Self {
        let running = FuturesUnordered::new();
        // What ends the connection is also told to whoever waits for the response.
        let task: Task = Box::pin(async move {
            let _ = connection.await;
        });
        running.push(task);
        Self { queued, running }
    }

    /// Waits for `future` while the connection makes progress.
    pub(in crate::probe) async fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.progress(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    fn progress(&mut self, cx: &mut Context<'_>) {
        loop {
            self.running.extend(self.queued.take());
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => {
                    let more = self.queued.take();
                    if more.is_empty() {
                        return;
                    }
                    self.running.extend(more);
                }
            }
        }
    }
}

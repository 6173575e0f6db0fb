//! Asking for an end before its time, and asking again.

use tokio::sync::watch;

/// How much somebody wants an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    #[default]
    None,
    /// In good order.
    Asked,
    /// At once.
    Forced,
}

/// Asks for the end of whatever holds the [`Cancel`].
#[derive(Clone, Debug)]
pub struct Canceller(watch::Sender<Urgency>);

/// Whether somebody asks for the end.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Receiver<Urgency>);

impl Canceller {
    /// Asks for an end in good order. Asking for it again is no more urgent.
    pub fn ask(&self) {
        self.0.send_modify(|urgency| *urgency = (*urgency).max(Urgency::Asked));
    }

    /// Asks for an end in good order; if that was asked before, for an end at once.
    pub fn urge(&self) {
        self.0.send_modify(|urgency| {
            *urgency = match urgency {
                Urgency::None => Urgency::Asked,
                Urgency::Asked | Urgency::Forced => Urgency::Forced,
            };
        });
    }
}

impl Cancel {
    /// Both sides of it.
    #[must_use]
    pub fn new() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(Urgency::None);
        (Canceller(sender), Self(receiver))
    }

    /// Nobody will ever ask.
    #[must_use]
    pub fn never() -> Self {
        Self::new().1
    }

    /// Completes when an end is asked for.
    pub async fn asked(&mut self) {
        self.reached(Urgency::Asked).await;
    }

    /// Completes when an end at once is asked for.
    pub async fn forced(&mut self) {
        self.reached(Urgency::Forced).await;
    }

    async fn reached(&mut self, wanted: Urgency) {
        let reached = self.0.wait_for(|urgency| *urgency >= wanted).await.is_ok();
        if !reached {
            // Whoever could have asked is gone.
            std::future::pending::<()>().await;
        }
    }
}

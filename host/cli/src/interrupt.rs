//! Ctrl-C and SIGTERM: the first asks to stop, the second stops.

use tokio::sync::watch;

use crate::exit::Exit;

/// Whether the user or the system asked this process to stop.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// From now on the first signal is told here, and the second one ends the process.
    pub fn listen() -> Self {
        let (asked, told) = watch::channel(false);
        tokio::spawn(async move {
            signal().await;
            asked.send_replace(true);
            signal().await;
            std::process::exit(Exit::Interrupted as i32);
        });
        Interrupt(told)
    }

    /// Resolves when it was asked, also if that was before.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // Signals cannot be listened for: none will come.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

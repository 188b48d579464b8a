//! The way from this host's loopback to the API server, which is in a network of its own.
//!
//! The socket was opened in the network of the host and handed in, so the host needs no link, no route and no rule.
//! It copies bytes and never looks at them.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The most connections at one time; each costs two threads.
const CONNECTIONS_MAX: usize = 512;
/// How long to wait when the system has no socket or no thread for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and connects each to `target`, in a thread of its own.
pub(super) fn start(listener: TcpListener, target: &'static str) {
    std::thread::spawn(move || {
        let open = Arc::new(AtomicUsize::new(0));
        loop {
            match listener.accept() {
                Ok((client, _)) => admit(client, target, &open),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    });
}

fn admit(client: TcpStream, target: &'static str, open: &Arc<AtomicUsize>) {
    if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
        open.fetch_sub(1, Ordering::AcqRel);
        // Dropping the connection tells the client at once.
        return;
    }
    let counted = Arc::clone(open);
    let thread = std::thread::Builder::new().spawn(move || {
        // An end of a connection is nobody's error here: both sides see it.
        let _ = connect(&client, target);
        counted.fetch_sub(1, Ordering::AcqRel);
    });
    if thread.is_err() {
        open.fetch_sub(1, Ordering::AcqRel);
    }
}

fn connect(client: &TcpStream, target: &str) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    std::thread::scope(|scope| {
        let back = std::thread::Builder::new().spawn_scoped(scope, || copy(&server, client));
        copy(client, &server);
        back.map(|_| ())
    })
}

/// Copies until one side ends, and says so to the other.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    // Whoever writes on would wait for a reader that is gone.
    let _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn bytes_go_both_ways_and_the_end_is_passed_on() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let target: &'static str = server.local_addr().unwrap().to_string().leak();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        start(listener, target);
        let mut client = TcpStream::connect(address).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        accepted.read_to_string(&mut heard).unwrap();
        accepted.write_all(b"answer").unwrap();
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("question", "answer"));
    }
}

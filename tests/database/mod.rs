//! A real MariaDB server of the tests' own, where the packages for it are installed: in a directory under the
//! system's temporary one, as an unprivileged user, on a port of loopback. A shell script holds it by a pipe from this
//! process and ends it when that ends, whatever the reason.
#![allow(
    dead_code,
    reason = "shared by unit tests and whole-fleet tests; each uses a part"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The longest wait for the server; reached only where a test fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// Nobody, on every Linux.
const NOBODY: &str = "65534";

/// Mounts a disk in which a server finds room for what it begins with and little more, then goes on as it is told.
const SMALL_DISK: &str = "mkdir -p \"$0/data\" && chown -R 65534:65534 \"$0\" &&
    mount -t tmpfs -o size=256m,mode=0777 none \"$0/data\" && exec \"$@\"";

/// Numbers the servers and databases of this process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A script that runs servers, and what it says.
type Holder = (Child, BufReader<std::process::ChildStdout>);

/// A running server; ended when it is dropped, or this process ends.
pub struct Server {
    dir: PathBuf,
    pub port: u16,
    /// The script and what it says.
    holder: Mutex<Holder>,
}

impl Server {
    /// Starts one; none where MariaDB is not installed.
    pub fn start() -> Option<Self> {
        Self::make(new_dir(), &[], &[])
    }

    /// Starts one that keeps a log of all changes, and whose data is on a disk of its own, which is full soon; none where
    /// this is not root, or may not mount. Nobody else sees the disk, and it is gone when the server is.
    pub fn start_on_small_disk() -> Option<Self> {
        let dir = new_dir();
        let alone = ["unshare", "--mount", "sh", "-c", SMALL_DISK];
        let mut prefix: Vec<String> = alone.map(str::to_owned).to_vec();
        prefix.push(dir.display().to_string());
        let tried = command("unshare").args(["--mount", "true"]).output();
        if !is_root() || !tried.is_ok_and(|tried| tried.status.success()) {
            return None;
        }
        Self::make(dir, &prefix, &["--log-bin=changes", "--server-id=1"])
    }

    fn make(dir: PathBuf, prefix: &[String], options: &[&str]) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let port = free_ports(1)[0];
        let mut args = vec![dir.display().to_string(), port.to_string()];
        args.extend(options.iter().map(|option| (*option).to_owned()));
        let holder = hold(include_str!("server.sh"), &args, prefix);
        let server = Self {
            dir,
            port,
            holder: Mutex::new(holder),
        };
        assert_eq!(server.hear(), "ready", "no MariaDB server");
        server.answers();
        server.sql(
            "CREATE USER ucron@'%' IDENTIFIED BY 'se:cret'; GRANT ALL ON `fleet%`.* TO ucron@'%'; CREATE USER crowd@'%' IDENTIFIED BY ''",
        );
        Some(server)
    }

    /// Certificate of the authority of the server's own.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Makes an empty database and tells its name.
    pub fn new_database(&self) -> String {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fleet{number}");
        self.sql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Carries out SQL as root; what it prints.
    pub fn sql(&self, sql: &str) -> String {
        let said = ask_root(&self.dir.join("s"), sql);
        said.unwrap_or_else(|fault| panic!("{sql}: {fault}"))
    }

    /// Ends the server as a crash would.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// Starts it again after [`Server::kill`].
    pub fn restart(&self) {
        self.tell("start");
        self.answers();
    }

    /// Stops it where it is; connections stay open.
    pub fn pause(&self) {
        self.tell("pause");
    }

    pub fn go_on(&self) {
        self.tell("continue");
    }

    /// Keeps a copy of what is on disk, between [`Server::kill`] and [`Server::restart`].
    pub fn keep(&self) {
        self.tell("keep");
    }

    /// Makes that copy what is on disk, likewise.
    pub fn rewind(&self) {
        self.tell("rewind");
    }

    /// Leaves no room on its disk.
    pub fn fill(&self) {
        self.tell("fill");
    }

    /// Makes room again.
    pub fn clear(&self) {
        self.tell("clear");
    }

    /// Another account's connections, which do nothing; they end with what is returned.
    pub fn crowd(&self, connections: usize) -> Crowd {
        let sleep = |_| {
            let mut client = command("mariadb");
            client.args(["--no-defaults", "-ucrowd", "--host=127.0.0.1"]);
            client.args(["--skip-ssl", "-e", "SELECT SLEEP(600)"]);
            client.arg(format!("--port={}", self.port));
            client.stdout(Stdio::null()).stderr(Stdio::null());
            client.spawn().expect("the client starts")
        };
        Crowd((0..connections).map(sleep).collect())
    }

    fn tell(&self, word: &str) {
        {
            let mut holder = self.holder.lock().expect("nobody panics while telling");
            let stdin = holder.0.stdin.as_mut().expect("the pipe was made");
            writeln!(stdin, "{word}").expect("the script lives");
        }
        assert_eq!(self.hear(), "done");
    }

    fn hear(&self) -> String {
        let mut holder = self.holder.lock().expect("nobody panics while hearing");
        let mut line = String::new();
        holder.1.read_line(&mut line).expect("the pipe was made");
        line.trim().to_owned()
    }

    /// Waits until it greets.
    fn answers(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.greets() {
            let log = || std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "no MariaDB server:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn greets(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let limited = stream.set_read_timeout(Some(Duration::from_secs(1)));
        limited.is_ok() && stream.read(&mut [0; 4]).is_ok_and(|read| read > 0)
    }
}

/// Connections that do nothing.
pub struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that was refused has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok((child, _)) = self.holder.get_mut() {
            // The end of its stdin ends the script, and that the server.
            drop(child.stdin.take());
            // Where it is gone already there is nothing to wait for.
            let _ = child.wait();
        }
        // What a disk was mounted on is left.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Whether the packages of MariaDB are there.
pub(crate) fn is_installed() -> bool {
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    ["mariadbd", "mariadb-install-db", "mariadb"]
        .into_iter()
        .all(found)
}

/// So many ports of loopback that nobody has.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}

/// A directory for servers that is not there yet. Short, whatever TMPDIR says: a socket's path has 107 bytes at most.
pub(crate) fn new_dir() -> PathBuf {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ucron-db-{}-{number}", std::process::id());
    Path::new("/tmp").join(name)
}

/// What a server prints for SQL of root, or why it does not.
pub(crate) fn ask_root(socket: &Path, sql: &str) -> Result<String, String> {
    let mut client = command("mariadb");
    client.args([
        "--no-defaults",
        "--batch",
        "--raw",
        "--skip-column-names",
        "-uroot",
    ]);
    let output = client
        .arg("--socket")
        .arg(socket)
        .arg("-e")
        .arg(sql)
        .output();
    let output = output.expect("the client starts");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Starts a script as nobody in particular, by the command of `prefix` where there is one; the first argument is a directory
/// for it.
pub(crate) fn hold(text: &str, args: &[String], prefix: &[String]) -> Holder {
    let mut words: Vec<&str> = prefix.iter().map(String::as_str).collect();
    if is_root() {
        words.extend(["setpriv", "--reuid", NOBODY, "--regid", NOBODY]);
        words.push("--clear-groups");
    }
    words.push("sh");
    let mut script = command(words[0]);
    script.args(&words[1..]);
    let (ca, cert, key) = certificates();
    // The text, not the file: nobody may not be able to read where the sources are.
    script.args(["-c", text, "database"]);
    script.args(args).current_dir("/");
    script.env("UCRON_TEST_ca", ca);
    script.env("UCRON_TEST_cert", cert);
    script.env("UCRON_TEST_key", key);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("the shell starts");
    let said = BufReader::new(child.stdout.take().expect("the pipe was made"));
    (child, said)
}

#[allow(
    clippy::disallowed_methods,
    reason = "tests start the server and its client"
)]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// An authority, and a certificate and key of it for loopback.
fn certificates() -> (String, String, String) {
    let fault = "a certificate can be made";
    let ca_key = rcgen::KeyPair::generate().expect(fault);
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).expect(fault);
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().expect(fault);
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let leaf = rcgen::CertificateParams::new(names).expect(fault);
    let leaf = leaf.signed_by(&key, &issuer).expect(fault);
    (ca.pem(), leaf.pem(), key.serialize_pem())
}

//! A client for WebDriver (<https://www.w3.org/TR/webdriver2/>), as much of it as the tests need: a request is HTTP/1.1 with JSON, on
//! a connection of its own to the driver on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take for one command. It starts slowly on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(90);

/// The member of an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

type Result<T> = std::result::Result<T, String>;

/// A browser with one page. It ends with this value.
pub(crate) struct Browser {
    driver: Child,
    /// What the driver prints. It would be killed if nobody could read it.
    _printed: BufReader<ChildStdout>,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn start(driver: &Path, browser: &Path) -> Result<Self> {
        let profile = tempfile::tempdir().map_err(|error| format!("no directory for a profile: {error}"))?;
        let mut child = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", driver.display()))?;
        let mut printed = BufReader::new(child.stdout.take().expect("it is piped"));
        // "ChromeDriver was started successfully on port 12345."
        let line = (&mut printed)
            .lines()
            .map_while(std::result::Result::ok)
            .find(|line| line.contains("successfully on port"));
        let mut this =
            Self { driver: child, _printed: printed, port: 0, session: String::new(), _profile: profile };
        let port = line.and_then(|line| line.rsplit(' ').next()?.trim_end_matches('.').parse().ok());
        this.port = port.ok_or("the driver does not say its port")?;
        let profile = format!("--user-data-dir={}", this._profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
            &profile,
        ];
        let made = this.request(
            "POST",
            "/session",
            &json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "binary": browser, "args": arguments },
        } } }),
        )?;
        this.session = made["sessionId"].as_str().ok_or("there is no session")?.to_owned();
        Ok(this)
    }

    /// Loads a file, and waits until that is complete.
    pub(crate) fn open(&self, page: &Path) -> Result<()> {
        self.command("POST", "/url", &json!({ "url": format!("file://{}", page.display()) })).map(drop)
    }

    /// Runs the body of a function, and returns what it returns.
    pub(crate) fn run(&self, script: &str) -> Result<Value> {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Clicks on the element, as somebody would: it has to be visible.
    pub(crate) fn click(&self, selector: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.command("POST", &format!("/element/{element}/click"), &json!({})).map(drop)
    }

    /// Types into the element.
    pub(crate) fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let element = self.element(selector)?;
        self.command("POST", &format!("/element/{element}/value"), &json!({ "text": text })).map(drop)
    }

    /// Presses these keys, one after the other, wherever the focus is. Keys without a character have one in WebDriver.
    pub(crate) fn press(&self, keys: &str) -> Result<()> {
        let press = |key: char| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.command("POST", "/actions", &actions).map(drop)
    }

    /// Has the page believe that somebody prefers light or dark.
    pub(crate) fn prefer(&self, scheme: &str) -> Result<()> {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.command("POST", "/goog/cdp/execute", &command).map(drop)
    }

    /// What the browser has logged since this was last asked: violations of the page's policy, errors, and anything else.
    pub(crate) fn log(&self) -> Result<Vec<String>> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }))?;
        Ok(log.as_array().into_iter().flatten().map(Value::to_string).collect())
    }

    fn element(&self, selector: &str) -> Result<String> {
        let found =
            self.command("POST", "/element", &json!({ "using": "css selector", "value": selector }))?;
        Ok(found[ELEMENT].as_str().ok_or("an element has no reference")?.to_owned())
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let path = format!("/session/{}{path}", self.session);
        self.request(method, &path, body).map_err(|error| format!("{path} {body}: {error}"))
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer =
            self.exchange(method, path, &body.to_string()).map_err(|error| format!("no answer: {error}"))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{error} in {answer}"))?;
        match &answer["value"]["error"] {
            Value::String(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            _ => Ok(answer["value"].clone()),
        }
    }

    /// Sends a request, and returns the body of the answer.
    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                None if line.trim_end().is_empty() => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(std::io::Error::other)?;
                }
                _ => {}
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body)?;
        String::from_utf8(body).map_err(std::io::Error::other)
    }
}

impl Drop for Browser {
    /// The driver ends its browser when its session ends.
    fn drop(&mut self) {
        let _ = self.command("DELETE", "", &json!({}));
        let _ = self.request("POST", "/shutdown", &json!({}));
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.driver.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

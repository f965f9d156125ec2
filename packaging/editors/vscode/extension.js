// Starts the language server for policies, once one is opened.

const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = () => {
  const [command, ...args] = workspace.getConfiguration("knobgate").get("command");
  client = new LanguageClient("knobgate", { command, args }, { documentSelector: [{ language: "knob" }] });
  return client.start();
};

exports.deactivate = () => client?.stop();

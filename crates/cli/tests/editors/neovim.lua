-- Edits the file x.knob with the language server, and prints what Neovim knows. For Neovim 0.7 and later.

local function wait(what, is_done)
  if not vim.wait(60000, is_done, 20) then
    print("no " .. what)
    vim.cmd("cquit")
  end
end

local function codes()
  local all = vim.tbl_map(function(diagnostic) return diagnostic.code end, vim.diagnostic.get(0))
  table.sort(all)
  return table.concat(all, " ")
end

vim.cmd("edit x.knob")
vim.bo.filetype = "knob"
local id = vim.lsp.start_client({ name = "knobgate", cmd = { vim.env.KNOBGATE, "lsp" }, root_dir = vim.fn.getcwd() })
vim.lsp.buf_attach_client(0, id)
wait("errors", function() return codes() == "unknown-action unreachable-rule" end)
print("codes: " .. codes())

local function request(method, line, character)
  local place = { textDocument = vim.lsp.util.make_text_document_params(0), position = { line = line, character = character } }
  return vim.lsp.buf_request_sync(0, method, place, 60000)[id].result
end

-- The column counts UTF-16, and the name is after a character of two units.
print("hover: " .. vim.lsp.util.convert_input_to_markdown_lines(request("textDocument/hover", 4, 42).contents)[1])
print("definition: " .. request("textDocument/definition", 3, 1)[1].range.start.line)

local range = { start = { line = 2, character = 0 }, ["end"] = { line = 2, character = 4 } }
local params = { textDocument = vim.lsp.util.make_text_document_params(0), range = range, context = { diagnostics = {} } }
local actions = vim.lsp.buf_request_sync(0, "textDocument/codeAction", params, 60000)[id].result
vim.lsp.util.apply_workspace_edit(actions[1].edit, "utf-16")
print("fixed: " .. vim.api.nvim_buf_get_lines(0, 2, 3, true)[1])
wait("repair", function() return codes() == "unreachable-rule" end)

vim.lsp.buf.formatting_sync(nil, 60000)
print("formatted: " .. vim.api.nvim_buf_get_lines(0, 2, 3, true)[1])

vim.api.nvim_buf_set_lines(0, 5, 5, true, { "allow read kernel.ost" })
local items = request("textDocument/completion", 5, 21)
for _, item in ipairs(items) do
  if item.textEdit.newText == "kernel.ostype" then print("completed: " .. item.label) end
end

vim.lsp.stop_client(id)
wait("end of the server", function() return vim.lsp.get_client_by_id(id) == nil end)
vim.cmd("qall!")

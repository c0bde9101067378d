--- libsparsenet from LuaJIT.
--
--   local sn = require "sparsenet"
--   local context = sn.context { threads = 2 }
--   local model = context:load_model "model.safetensors"
--   local session = context:session(model)
--   session:forward { 1, 2, 3 }
--   local logits, rows, width = session:logits()     -- float[rows * width], from 0
--
-- Nothing is declared here: ffi.cdef is given the installed sparsenet.h ($SPARSENET_HEADER, or where compilers look),
-- without its comments and preprocessor lines, and its constants come along: sn.SN_ABLATE_REST. The library is
-- $SPARSENET_LIBRARY, or libsparsenet.so.0 wherever the system finds it. sn.C has all functions of the header.
--
-- Objects are freed by the garbage collector, in whatever order: the library allows any. A failure is an error
-- with a table { status, name, message } that prints itself. An error inside a callback ends the call and is thrown
-- by it, since it must not unwind through C; a true result ends it with SN_ERROR_CANCELLED. What is used after close()
-- is an error that says "closed".
local ffi = require "ffi"

local function read(path)
    local file = path and io.open(path)
    if not file then
        return nil
    end
    local text = file:read "*a"
    file:close()
    return text
end

local sn = {}

do
    local own, text = os.getenv "SPARSENET_HEADER", nil
    if own then
        text = read(own)
    else
        text = read "/usr/local/include/sparsenet.h" or read "/usr/include/sparsenet.h"
    end
    assert(text, "no sparsenet.h: set SPARSENET_HEADER to its path")
    text = text:gsub("/%*.-%*/", "")
    for name, value in text:gmatch "#define (SN_[%u%d_]+) (%d+)" do
        sn[name] = tonumber(value)
    end
    text = text:gsub("#ifdef __cplusplus.-#endif", ""):gsub("#[^\n]*", ""):gsub("SN_API", "")
    ffi.cdef(text)
end

local C = ffi.load(os.getenv "SPARSENET_LIBRARY" or "libsparsenet.so.0")
sn.C = C
sn.version = ffi.string(C.sn_version_string())

-- ------------------------------------------------------------ errors, callbacks

local Failure = {}
Failure.__index = Failure
Failure.__tostring = function(self)
    return self.name .. ": " .. self.message
end

local function fail(status, message)
    local name = ffi.string(C.sn_status_string(status))
    error(setmetatable({ status = status, name = name, message = message }, Failure), 0)
end

-- One callback of each type for all contexts (they are few in a process); the payload says whose it is.
local states = setmetatable({}, { __mode = "v" })
local n_states = 0

local function state_of(payload)
    return states[tonumber(ffi.cast("intptr_t", payload))]
end

local function guarded(state, work, ...)
    local good, result = pcall(work, ...)
    if not good then
        state.thrown = result
        return 1
    end
    return result and 1 or 0
end

local on_progress = ffi.cast("sn_progress_callback", function(stage, done, total, value, payload)
    local state = state_of(payload)
    if not (state and state.progress) then
        return 0
    end
    return guarded(state, state.progress, ffi.string(stage), tonumber(done), tonumber(total), value)
end)

local on_text = ffi.cast("sn_text_callback", function(text, length, payload)
    local state = state_of(payload)
    return guarded(state, state.take, ffi.string(text, length))
end)

-- -------------------------------------------------------------------- objects

local classes = {}

local function class(kind)
    local made = {}
    --- An open object has its pointer itself; of a closed one it is looked for here. C would take it for NULL.
    function made:__index(key)
        if key == "pointer" then
            error("this " .. kind .. " is closed", 3)
        end
        return made[key]
    end
    --- Frees it now; without this the garbage collector does.
    function made:close()
        local pointer = rawget(self, "pointer")
        if pointer then
            C["sn_" .. kind .. "_free"](ffi.gc(pointer, nil))
            self.pointer = nil
        end
    end
    classes[kind] = made
    return made
end

local Context = class "context"

--- Calls C.sn_<name>, throws what a callback threw, or what the status says.
function Context:call(name, ...)
    local own, state = self.pointer, self.state
    state.thrown = nil
    local status = C["sn_" .. name](...)
    local thrown = state.thrown
    if thrown ~= nil then
        state.thrown = nil
        error(thrown, 0)
    end
    if status ~= 0 then
        fail(status, ffi.string(C.sn_context_message(own)))
    end
end
-- A compiled call must not call back into Lua.
jit.off(Context.call)

--- Options as the library takes them, nil for none.
function Context:options(settings)
    if not settings or next(settings) == nil then
        return nil
    end
    local out = ffi.new "sn_options *[1]"
    self:call("options_create", out, self.pointer)
    local options = ffi.gc(out[0], C.sn_options_free)
    for key, value in pairs(settings) do
        if type(value) == "number" then
            self:call("options_set", options, self.pointer, key, value)
        else
            self:call("options_set_text", options, self.pointer, key, value)
        end
    end
    return options
end

--- An object of class `kind` from a function that begins with `out, context`.
function Context:make(kind, name, ...)
    local out = ffi.new("sn_" .. kind .. " *[1]")
    self:call(name, out, self.pointer, ...)
    local pointer = ffi.gc(out[0], C["sn_" .. kind .. "_free"])
    return setmetatable({ pointer = pointer, context = self }, classes[kind])
end

--- An array by pointer, capacity and needed: the array and its count.
function Context:fetch(type, name, ...)
    local needed = ffi.new "size_t[1]"
    self:call(name, nil, 0, needed, ...)
    local n = tonumber(needed[0])
    local values = ffi.new(type .. "[?]", n)
    self:call(name, values, n, needed, ...)
    return values, n
end

--- int32_t[] and its count from a table; or from such an array, whose count must then be given.
local function tokens_of(tokens, n)
    if type(tokens) ~= "table" then
        return tokens, assert(n, "an array needs its count")
    end
    return ffi.new("int32_t[?]", #tokens, tokens), #tokens
end

-- ------------------------------------------------------------------- contexts

--- settings: threads (1), progress: function(stage, done, total, value), true cancels.
function sn.context(settings)
    local out = ffi.new "sn_context *[1]"
    local status = C.sn_context_create(out, nil)
    if status ~= 0 then
        fail(status, "")
    end
    n_states = n_states + 1
    local state = { progress = settings and settings.progress }
    states[n_states] = state
    local pointer, id = ffi.gc(out[0], C.sn_context_free), ffi.cast("void *", ffi.cast("intptr_t", n_states))
    local context = setmetatable({ pointer = pointer, state = state, id = id }, Context)
    C.sn_context_set_progress(pointer, on_progress, id)
    context:call("context_set_threads", context.pointer, settings and settings.threads or 1)
    return context
end

function Context:set_progress(progress)
    self.state.progress = progress
end

function Context:bytes_held()
    local current = ffi.new "size_t[1]"
    C.sn_context_memory(current, nil, self.pointer)
    return tonumber(current[0])
end

-- ------------------------------------------------------------------ tokenizers

local Tokenizer = class "tokenizer"

function Context:load_tokenizer(path)
    return self:make("tokenizer", "tokenizer_load", path)
end

function Tokenizer:encode(text)
    local context = self.context
    return context:fetch("int32_t", "tokenizer_encode", context.pointer, self.pointer, text, #text)
end

function Tokenizer:decode(tokens, n)
    tokens, n = tokens_of(tokens, n)
    local text, length =
        self.context:fetch("char", "tokenizer_decode", self.context.pointer, self.pointer, tokens, n)
    return ffi.string(text, length)
end

-- --------------------------------------------------------------------- corpora

local Corpus = class "corpus"

function Context:corpus()
    return self:make("corpus", "corpus_create")
end

function Corpus:add_text(text)
    self.context:call("corpus_add_text", self.pointer, self.context.pointer, text, #text)
end

function Corpus:add_tokens(tokens, n)
    tokens, n = tokens_of(tokens, n)
    self.context:call("corpus_add_tokens", self.pointer, self.context.pointer, tokens, n)
end

function Corpus:add_idioms(n_bytes, options)
    local context = self.context
    context:call("python_add_idioms", self.pointer, context.pointer, n_bytes, context:options(options))
end

function Corpus:tokenize(tokenizer)
    self.context:call("corpus_tokenize", self.pointer, self.context.pointer, tokenizer.pointer)
end

-- ------------------------------------------------------------- models, running

local Model = class "model"

function Context:load_model(path)
    return self:make("model", "model_load", path)
end

function Model:config(key)
    return tonumber(C.sn_model_config_number(self.pointer, key))
end

--- { [name of a site] = width }
function Model:sites()
    local widths = {}
    for i = 1, tonumber(C.sn_model_site_count(self.pointer)) do
        local name = C.sn_model_site_name(self.pointer, i - 1)
        widths[ffi.string(name)] = tonumber(C.sn_model_site_width(self.pointer, name))
    end
    return widths
end

local Session = class "session"

function Context:session(model, options)
    local session = self:make("session", "session_create", model.pointer, self:options(options))
    -- As long as the session: the model may be closed before it.
    session.n_vocabulary, session.widths = model:config "vocab_size", model:sites()
    return session
end

--- One sequence, or with offsets { 0, ..., n } several, end to end.
function Session:forward(tokens, n, offsets)
    tokens, n = tokens_of(tokens, n)
    offsets = offsets or { 0, n }
    assert(offsets[#offsets] == n, "offsets must end at the number of tokens")
    local bounds = ffi.new("size_t[?]", #offsets, offsets)
    self.context:call("session_forward", self.pointer, tokens, bounds, #offsets - 1)
end

--- float[rows * width], rows, width.
function Session:logits()
    local values, n = self.context:fetch("float", "session_logits", self.pointer)
    return values, n / self.n_vocabulary, self.n_vocabulary
end

function Session:record(site)
    self.context:call("session_record", self.pointer, site)
end

function Session:activations(site)
    local values, n = self.context:fetch("float", "session_activations", self.pointer, site)
    return values, n / self.widths[site], self.widths[site]
end

local Generator = class "generator"

function Context:generator(model, options)
    return self:make("generator", "generator_create", model.pointer, self:options(options))
end

function Generator:append(tokens, n)
    tokens, n = tokens_of(tokens, n)
    self.context:call("generator_append", self.pointer, tokens, n)
end

function Generator:next()
    local token = ffi.new "int32_t[1]"
    self.context:call("generator_next", token, self.pointer)
    return token[0]
end

-- ------------------------------------------------------------- tasks, circuits

local Task = class "task"

function Context:python_task(tokenizer, name, n_pairs, options)
    return self:make("task", "python_task", tokenizer.pointer, name, n_pairs, self:options(options))
end

--- tokenizer: nil for files of token ids.
function Context:load_task(tokenizer, path)
    return self:make("task", "task_load_jsonl", tokenizer and tokenizer.pointer, path)
end

function Task:count()
    return tonumber(C.sn_task_count(self.pointer))
end

local Means = class "means"

function Context:means(model, corpus, options)
    return self:make("means", "means_create", model.pointer, corpus.pointer, self:options(options))
end

--- A copy of a site's means: float[width], width.
function Means:site(name)
    local width = ffi.new "size_t[1]"
    local values = C.sn_means_site(width, self.pointer, name)
    if values == nil then
        return nil
    end
    local n = tonumber(width[0])
    local copy = ffi.new("float[?]", n)
    ffi.copy(copy, values, n * ffi.sizeof "float")
    return copy, n
end

local Circuit = class "circuit"

function Context:extract(model, means, task, options, develop)
    return self:make("circuit", "circuit_extract", model.pointer, means.pointer, task.pointer,
        develop and develop.pointer, self:options(options))
end

function Context:load_circuit(model, path)
    return self:make("circuit", "circuit_load", model.pointer, path)
end

function Circuit:nodes()
    local nodes = {}
    for i = 1, tonumber(C.sn_circuit_node_count(self.pointer)) do
        nodes[i] = ffi.string(C.sn_circuit_node_name(self.pointer, i - 1))
    end
    return nodes
end

--- { { from, to, weight }, ... }
function Circuit:edges()
    local nodes, edges = self:nodes(), {}
    local from, to, weight = ffi.new "size_t[1]", ffi.new "size_t[1]", ffi.new "float[1]"
    for i = 1, tonumber(C.sn_circuit_edge_count(self.pointer)) do
        C.sn_circuit_edge(from, to, weight, self.pointer, i - 1)
        edges[i] = { nodes[tonumber(from[0]) + 1], nodes[tonumber(to[0]) + 1], weight[0] }
    end
    return edges
end

function Circuit:trace(means, tokenizer, task, options)
    local context = self.context
    context:call("circuit_trace", self.pointer, context.pointer, means.pointer, tokenizer.pointer,
        task.pointer, context:options(options))
end

--- { { words, weight, contribution }, ... } of the last trace.
function Circuit:paths()
    local paths, weight, contribution = {}, ffi.new "double[1]", ffi.new "double[1]"
    for i = 1, tonumber(C.sn_circuit_path_count(self.pointer)) do
        local words = ffi.string(C.sn_circuit_path(weight, contribution, self.pointer, i - 1))
        paths[i] = { words, weight[0], contribution[0] }
    end
    return paths
end

--- An sn_evaluation; ablate: sn.SN_ABLATE_REST or another.
function Circuit:evaluate(means, task, ablate)
    local result = ffi.new "sn_evaluation"
    result.struct_size = ffi.sizeof "sn_evaluation"
    local context, model = self.context, C.sn_circuit_model(self.pointer)
    context:call("evaluate", result, context.pointer, model, means.pointer, self.pointer,
        ablate or sn.SN_ABLATE_REST, task.pointer, task.pointer)
    return result
end

--- Writes .json, .dot, .graphml, .svg or .html; page: { tokenizer, evidence, task, other, other_task, n_pairs }.
function Circuit:write(path, page)
    local context, form = self.context, path:match "%.(%w+)$"
    if form ~= "html" then
        context:call("report_write_" .. form, context.pointer, self.pointer, path)
        return
    end
    local inputs = ffi.new "sn_page"
    inputs.struct_size = ffi.sizeof "sn_page"
    for name, one in pairs(page or {}) do
        inputs[name] = type(one) == "table" and one.pointer or one
    end
    context:call("report_write_html", context.pointer, self.pointer, inputs, path)
end

--- A report as a string: form is "json", "dot", "graphml", "svg" or "html".
function Circuit:text(form)
    local context, pieces = self.context, {}
    context.state.take = function(piece)
        pieces[#pieces + 1] = piece
    end
    local number = sn["SN_REPORT_" .. form:upper()]
    context:call("report_send", context.pointer, self.pointer, number, nil, on_text, context.id)
    return table.concat(pieces)
end

return sn

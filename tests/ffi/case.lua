-- examples/ffi/lua/sparsenet.lua: luajit case.lua FOLDER, where reference.c has been. Wants SPARSENET_LIBRARY,
-- SPARSENET_HEADER, LUA_PATH.
local sn = require "sparsenet"
local ffi = require "ffi"
local folder = arg[1]

local function path(name)
    return folder .. "/" .. name
end

local function read(name)
    local file = assert(io.open(path(name), "rb"))
    local text = file:read "*a"
    file:close()
    return text
end

local function fails(status, pattern, work, ...)
    local good, why = pcall(work, ...)
    assert(not good, "did not fail")
    assert(type(why) == "table" and why.status == status, tostring(why))
    assert(tostring(why):find(pattern), tostring(why))
end

local function closed(kind, work, ...)
    local good, why = pcall(work, ...)
    assert(not good and tostring(why):find("this " .. kind .. " is closed", 1, true), tostring(why))
end

local texts = { "for i in range(10):\n    print(i)\n", "name = 'a' + \"b\"\n" }

local function packed(tokenizer)
    local tokens, offsets = {}, { 0 }
    for i, text in ipairs(texts) do
        local some, n = tokenizer:encode(text)
        for t = 0, n - 1 do
            tokens[#tokens + 1] = some[t]
        end
        offsets[i + 1] = #tokens
    end
    return tokens, offsets
end

local function logits_of(session, tokens, offsets)
    session:forward(tokens, nil, offsets)
    local values, rows, width = session:logits()
    return ffi.string(values, rows * width * 4), rows
end

local function numbers(context)
    local model = context:load_model(path "model.safetensors")
    local tokenizer = context:load_tokenizer(path "tokenizer")
    local session = context:session(model)
    local tokens, offsets = packed(tokenizer)
    -- Often enough for the compiler to take notice.
    for _ = 1, 100 do
        local logits, rows = logits_of(session, tokens, offsets)
        assert(logits == read "c.logits" and rows == #tokens)
    end
    fails(sn.SN_ERROR_STATE, "post_act", session.activations, session, "0.mlp.post_act")
    session:record "0.mlp.post_act"
    session:forward(tokens)
    local _, rows, width = session:activations "0.mlp.post_act"
    assert(rows == #tokens and width == model:config "d_mlp")

    local generator = context:generator(model, { temperature = 0.8, seed = 3 })
    generator:append(tokenizer:encode "print(")
    local drawn = {}
    for i = 1, 24 do
        drawn[i] = generator:next()
    end
    assert(tokenizer:decode(drawn) == read "c.text")
    -- Freed in a wrong order: nothing minds.
    local vocabulary, d_mlp = model:config "vocab_size", model:config "d_mlp"
    model:close()
    generator:close()
    local logits, n = logits_of(session, tokens, offsets)
    assert(logits == read "c.logits" and n == #tokens)
    assert(select(3, session:logits()) == vocabulary)
    _, rows, width = session:activations "0.mlp.post_act"
    assert(rows == #tokens and width == d_mlp)
end

local function extract(context, model, means, task)
    return context:extract(model, means, task, { steps = 40, k_coef = 1e-3, batch = 16 })
end

local function circuits(context)
    local model = context:load_model(path "model.safetensors")
    local tokenizer = context:load_tokenizer(path "tokenizer")
    local corpus = context:corpus()
    corpus:add_idioms(20000, { seed = 5 })
    corpus:tokenize(tokenizer)
    local means = context:means(model, corpus, { tokens = 4096 })
    local task = context:python_task(tokenizer, "single_double_quote", 24, { seed = 2, max_tokens = 60 })
    local n = 0
    context:set_progress(function(stage)
        n = n + 1
    end)
    local circuit = extract(context, model, means, task)
    assert(n > 40)
    circuit:trace(means, tokenizer, task)
    circuit:write(path "lua.json")
    circuit:write(path "lua.html", { tokenizer = tokenizer, task = task, n_pairs = 1 })
    assert(read "lua.json" == read "c.json" and circuit:text "json" == read "c.json")
    assert(circuit:text "svg" == read "c.svg")
    assert(circuit:evaluate(means, task).n_pairs == 24)
    assert(#circuit:paths() > 0 and #circuit:edges() > 0)
    local _, width = means:site "0.mlp.post_act"
    assert(width == model:config "d_mlp" and means:site "no.site" == nil)

    context:set_progress(function(stage, done)
        return stage == "prune" and done == 3
    end)
    fails(sn.SN_ERROR_CANCELLED, "prune", extract, context, model, means, task)
    context:set_progress(function(stage, done)
        if stage == "prune" and done == 3 then
            error("from the callback", 0)
        end
    end)
    local good, why = pcall(extract, context, model, means, task)
    assert(not good and why == "from the callback")
end

local function errors(context)
    fails(sn.SN_ERROR_IO, "/nonexistent", context.load_model, context, "/nonexistent")
    local model = context:load_model(path "model.safetensors")
    fails(sn.SN_ERROR_ARGUMENT, "temprature", context.generator, context, model, { temprature = 1 })
    local session = context:session(model)
    fails(sn.SN_ERROR_ARGUMENT, "vocabulary", session.forward, session, { -1 })
    assert(not pcall(session.forward, session, { 1, 2 }, nil, { 0, 3 }))
    fails(sn.SN_ERROR_ARGUMENT, "no.site", session.activations, session, "no.site")
end

-- What is closed says so, wherever it is used; closing it again does nothing.
local function closing()
    local context = sn.context()
    local model, tokenizer = context:load_model(path "model.safetensors"), context:load_tokenizer(path "tokenizer")
    local session, generator = context:session(model), context:generator(model)
    local corpus, task = context:corpus(), context:python_task(tokenizer, "single_double_quote", 4)
    corpus:add_tokens { 1, 2, 3 }
    local means = context:means(model, corpus)
    local circuit = context:load_circuit(model, path "c.json")
    for _, one in ipairs { model, tokenizer, session, generator, corpus, task } do
        one:close()
        one:close()
    end
    closed("model", model.config, model, "vocab_size")
    closed("model", context.session, context, model)
    closed("tokenizer", tokenizer.encode, tokenizer, "x")
    closed("tokenizer", corpus.tokenize, context:corpus(), tokenizer)
    closed("session", session.forward, session, { 1 })
    closed("session", session.logits, session)
    closed("generator", generator.next, generator)
    closed("corpus", corpus.add_text, corpus, "x")
    closed("task", task.count, task)
    closed("task", circuit.evaluate, circuit, means, task)
    closed("task", circuit.write, circuit, path "lua.html", { task = task })
    means:close()
    closed("means", means.site, means, "0.mlp.post_act")
    circuit:close()
    for _, name in ipairs { "nodes", "edges", "paths" } do
        closed("circuit", circuit[name], circuit)
    end
    closed("circuit", circuit.text, circuit, "json")
    local other = context:corpus()
    context:close()
    context:close()
    closed("context", context.bytes_held, context)
    closed("context", context.corpus, context)
    closed("context", other.add_text, other, "x")
end

assert(sn.SN_ABLATE_REST == 1 and sn.version:match "^%d+%.%d+%.%d+$")
local context = sn.context { threads = 2 }
local empty = context:bytes_held()
numbers(context)
circuits(context)
errors(context)
closing()
collectgarbage()
collectgarbage()
assert(context:bytes_held() == empty, ("%d bytes are left"):format(context:bytes_held() - empty))
-- What is alive when Lua ends is freed in no order.
last = { context:session(context:load_model(path "model.safetensors")), context }

-- The circuit with which a trained model closes a string, from LuaJIT: luajit quote_circuit.lua MODEL TOKENIZER OUT
-- (`make demo` writes out/model.safetensors and out/tokenizer). Prints it and writes OUT.svg and OUT.html.
package.path = (arg[0]:match "^(.*)/" or ".") .. "/?.lua;" .. package.path
local sn = require "sparsenet"

local function complete(context, model, tokenizer, prompt, n)
    local generator = context:generator(model, { temperature = 0 })
    local tokens = {}
    generator:append(tokenizer:encode(prompt))
    for i = 1, n do
        tokens[i] = generator:next()
    end
    return prompt .. tokenizer:decode(tokens)
end

local function main(model_path, tokenizer_path, out)
    local context = sn.context {}
    local model = context:load_model(model_path)
    local tokenizer = context:load_tokenizer(tokenizer_path)
    print(complete(context, model, tokenizer, "for i in", 8))

    local text = context:corpus()
    text:add_idioms(500000)
    text:tokenize(tokenizer)
    local means = context:means(model, text)
    local task = context:python_task(tokenizer, "single_double_quote", 64)

    context:set_progress(function(stage, done, total)
        io.stderr:write(("\r%s %d of %d   "):format(stage, done, total))
    end)
    local circuit = context:extract(model, means, task)
    context:set_progress(nil)
    circuit:trace(means, tokenizer, task)

    local e = circuit:evaluate(means, task)
    print(("\n%d nodes, %d edges, loss %.3f, %.1f %% right"):format(
        #circuit:nodes(), #circuit:edges(), e.loss, 100 * e.accuracy))
    for _, edge in ipairs(circuit:edges()) do
        print(("  %+.3f  %s -> %s"):format(edge[3], edge[1], edge[2]))
    end
    for _, path in ipairs(circuit:paths()) do
        print(path[1])
    end
    circuit:write(out .. ".svg")
    circuit:write(out .. ".html", { tokenizer = tokenizer, task = task })
end

if #arg ~= 3 then
    io.stderr:write "usage: luajit quote_circuit.lua MODEL TOKENIZER OUT\n"
    os.exit(2)
end
local good, why = pcall(main, arg[1], arg[2], arg[3])
if not good then
    io.stderr:write("quote_circuit.lua: ", tostring(why), "\n")
    os.exit(1)
end

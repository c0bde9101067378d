// The circuit with which a trained model closes a string, from C++: quote_circuit_cpp MODEL TOKENIZER OUT
// (`make demo` writes out/model.safetensors and out/tokenizer). Prints it and writes OUT.svg and OUT.html.
#include "sparsenet.hpp"

#include <cstdio>
#include <string>

namespace sn = sparsenet;

static void print(const char *format, std::string_view text)
{
    std::printf(format, static_cast<int>(text.size()), text.data());
}

static void complete(const sn::context &context, const sn::model &model, const sn::tokenizer &tokenizer,
                     std::string_view prompt, std::size_t n)
{
    const sn::options greedy = sn::options(context).set("temperature", 0);
    sn::generator generator(context, model, &greedy);
    generator.append(tokenizer.encode(context, prompt));
    print("%.*s", prompt);
    for (std::size_t i = 0; i < n; i++)
        print("%.*s", tokenizer.token(generator.next()));
    std::printf("\n");
}

static void run(const char *model_path, const char *tokenizer_path, const std::string &out)
{
    sn::context context;
    const sn::model model = sn::model::load(context, model_path);
    const sn::tokenizer tokenizer = sn::tokenizer::load(context, tokenizer_path);
    complete(context, model, tokenizer, "for i in", 8);

    sn::corpus text(context);
    text.add_idioms(context, 500000);
    text.tokenize(context, tokenizer);
    const sn::means means(context, model, text);
    const sn::task task = sn::task::python(context, tokenizer, "single_double_quote", 64);

    context.set_progress([](std::string_view stage, std::size_t done, std::size_t total, double) {
        std::fprintf(stderr, "\r%.*s %zu of %zu   ", static_cast<int>(stage.size()), stage.data(), done,
                     total);
        return false;
    });
    sn::circuit circuit = sn::circuit::extract(context, model, means, task);
    circuit.trace(context, means, tokenizer, task);
    context.set_progress(nullptr);

    const sn_evaluation e = circuit.evaluate(context, means, task);
    std::printf("%zu nodes, %zu edges, loss %.3f, %.1f %% right\n", circuit.node_count(),
                circuit.edges().size(), e.loss, 100 * e.accuracy);
    for (const sn::edge &edge : circuit.edges()) {
        std::printf("  %+.3f ", static_cast<double>(edge.weight));
        print(" %.*s ->", edge.from);
        print(" %.*s\n", edge.to);
    }
    for (const sn::path &path : circuit.paths())
        print("%.*s\n", path.words);
    circuit.write_svg(context, out + ".svg");
    sn_page page = {};
    page.tokenizer = tokenizer.get();
    page.task = task.get();
    circuit.write_html(context, out + ".html", page);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 4) {
        std::fprintf(stderr, "usage: %s MODEL TOKENIZER OUT\n", arguments[0]);
        return 2;
    }
    try {
        run(arguments[1], arguments[2], arguments[3]);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s: %s\n", arguments[0], error.what());
        return 1;
    }
    return 0;
}

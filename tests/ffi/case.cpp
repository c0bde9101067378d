// examples/cpp/sparsenet.hpp: case_cpp FOLDER, where reference.c has been.
#include "sparsenet.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>
#include <type_traits>

extern "C" {
extern sn_allocator counting_allocator;
std::size_t counting_live_bytes(void);
}

namespace sn = sparsenet;

static_assert(!std::is_copy_constructible_v<sn::model> &&
              std::is_nothrow_move_constructible_v<sn::model>);
static_assert(!std::is_copy_constructible_v<sn::context> && std::is_move_constructible_v<sn::context>);

static std::string folder;

#define CHECK(condition)                                                                                \
    do {                                                                                                \
        if (!(condition)) {                                                                             \
            std::fprintf(stderr, "case.cpp:%d: not so: %s\n", __LINE__, #condition);                    \
            std::exit(1);                                                                               \
        }                                                                                               \
    } while (0)

template <typename Error, typename Work> static void fails(const char *part, Work work)
{
    try {
        work();
    } catch (const Error &error) {
        if (std::strstr(error.what(), part))
            return;
        std::fprintf(stderr, "case.cpp: '%s' is not in: %s\n", part, error.what());
        std::exit(1);
    }
    std::fprintf(stderr, "case.cpp: nothing was thrown where '%s' was expected\n", part);
    std::exit(1);
}

static std::string at(const char *name)
{
    return folder + "/" + name;
}

static std::string read(const std::string &name)
{
    std::ifstream file(at(name.c_str()), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

static std::string bytes(const std::vector<float> &values)
{
    return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(float));
}

struct batch {
    std::vector<std::int32_t> tokens;
    std::vector<std::size_t> offsets;
};

static batch tokens_of(const sn::caller &in, const sn::tokenizer &tokenizer)
{
    batch made{{}, {0}};
    for (const char *text : {"for i in range(10):\n    print(i)\n", "name = 'a' + \"b\"\n"}) {
        const std::vector<std::int32_t> part = tokenizer.encode(in, text);
        made.tokens.insert(made.tokens.end(), part.begin(), part.end());
        made.offsets.push_back(made.tokens.size());
    }
    return made;
}

static void numbers(sn::context &context)
{
    sn::model model = sn::model::load(context, at("model.safetensors"));
    const sn::tokenizer tokenizer = sn::tokenizer::load(context, at("tokenizer"));
    const batch both = tokens_of(context, tokenizer);
    sn::session session(context, model);
    session.forward(both.tokens, both.offsets);
    CHECK(bytes(session.logits()) == read("c.logits"));
    fails<sn::state_error>("post_act", [&] { session.activations("0.mlp.post_act"); });

    session.record("0.mlp.post_act");
    const std::vector<float> zeros(static_cast<std::size_t>(model.config("d_mlp")));
    session.intervene("0.mlp.post_act", SN_SET, zeros);
    session.forward(both.tokens);
    for (float value : session.activations("0.mlp.post_act"))
        CHECK(value == 0);
    session.clear_interventions();

    const sn::options how = sn::options(context).set("temperature", 0.8).set("seed", 3);
    sn::generator generator(context, model, &how);
    generator.append(tokenizer.encode(context, "print("));
    std::vector<std::int32_t> drawn;
    for (int i = 0; i < 24; i++)
        drawn.push_back(generator.next());
    CHECK(tokenizer.decode(context, drawn) == read("c.text"));
    CHECK(tokenizer.decode(context, {drawn[0]}) == tokenizer.token(drawn[0]));

    // The model goes first, the session lives on; so it does when it moves.
    model = sn::model();
    sn::session moved = std::move(session);
    moved.forward(both.tokens, both.offsets);
    CHECK(bytes(moved.logits()) == read("c.logits"));
}

static void circuits(sn::context &context)
{
    const sn::model model = sn::model::load(context, at("model.safetensors"));
    const sn::tokenizer tokenizer = sn::tokenizer::load(context, at("tokenizer"));
    const sn::options seed = sn::options(context).set("seed", 5),
                      few = sn::options(context).set("tokens", 4096);
    sn::corpus corpus(context);
    corpus.add_idioms(context, 20000, &seed);
    corpus.tokenize(context, tokenizer);
    const sn::means means(context, model, corpus, &few);
    const sn::options pairs =
        sn::options(context).set("seed", 2).set("max_tokens", 60).set("split", "prune");
    const sn::task task = sn::task::python(context, tokenizer, "single_double_quote", 24, &pairs);
    const sn::options how = sn::options(context).set("steps", 40).set("k_coef", 1e-3).set("batch", 16);

    std::size_t calls = 0;
    context.set_progress([&](std::string_view, std::size_t, std::size_t, double) {
        calls++;
        return false;
    });
    sn::circuit circuit = sn::circuit::extract(context, model, means, task, &how);
    CHECK(calls > 40);
    circuit.trace(context, means, tokenizer, task);
    circuit.write_json(context, at("cpp.json"));
    CHECK(read("cpp.json") == read("c.json"));
    CHECK(circuit.text(context, SN_REPORT_JSON) == read("c.json"));
    CHECK(circuit.text(context, SN_REPORT_SVG) == read("c.svg"));
    CHECK(circuit.evaluate(context, means, task).n_pairs == 24);
    CHECK(!circuit.paths().empty() && !circuit.edges().empty() && !circuit.edges()[0].from.empty());
    CHECK(means.site("0.mlp.post_act").size() == static_cast<std::size_t>(model.config("d_mlp")));
    CHECK(sn::circuit::load(context, model, at("cpp.json")).node_count() == circuit.node_count());
    fails<sn::cancelled>("cancelled", [&] {
        circuit.send(context, SN_REPORT_DOT, [](std::string_view) { return true; });
    });

    context.set_progress([](std::string_view stage, std::size_t done, std::size_t, double) {
        return stage == "prune" && done == 3;
    });
    fails<sn::cancelled>("prune", [&] { sn::circuit::extract(context, model, means, task, &how); });
    context.set_progress([](std::string_view stage, std::size_t, std::size_t, double) -> bool {
        if (stage == "prune")
            throw std::domain_error("from the callback");
        return false;
    });
    fails<std::domain_error>("from the callback",
                             [&] { sn::circuit::extract(context, model, means, task, &how); });
    context.set_progress(nullptr);
}

static void errors(sn::context &context)
{
    fails<sn::io_error>("/nonexistent", [&] { sn::model::load(context, "/nonexistent"); });
    fails<sn::format_error>("n_layer",
                            [&] { sn::model::create(context, "{\"n_layer\": \"many\"}", 1); });
    const sn::model model = sn::model::load(context, at("model.safetensors"));
    const sn::options wrong = sn::options(context).set("temprature", 1);
    fails<sn::argument_error>("temprature", [&] { sn::generator(context, model, &wrong); });
    sn::session session(context, model);
    fails<sn::argument_error>("vocabulary", [&] { session.forward({-1}); });
    fails<sn::argument_error>("offsets", [&] { session.forward({1, 2}, {0, 3}); });

    sn::corpus corpus(context);
    int left = 3;
    corpus.add_documents(context, [&](std::string &text) {
        text = "document";
        return left-- > 0;
    });
    CHECK(corpus.size() == 3);
    fails<std::length_error>("too many", [&] {
        corpus.add_documents(context,
                             [](std::string &) -> bool { throw std::length_error("too many"); });
    });
}

// One model, two threads with a context each; the contexts move meanwhile.
static void threads(sn::context &context)
{
    const sn::model model = sn::model::load(context, at("model.safetensors"));
    const batch both = tokens_of(context, sn::tokenizer::load(context, at("tokenizer")));
    const std::string expected = read("c.logits");
    auto work = [&] {
        sn::context first(2, &counting_allocator);
        sn::session session(first, model);
        sn::context own = std::move(first);
        for (int i = 0; i < 10; i++) {
            session.forward(both.tokens, both.offsets);
            CHECK(bytes(session.logits()) == expected);
        }
        fails<sn::argument_error>("vocabulary", [&] { session.forward({-1}); });
    };
    std::thread one(work), two(work);
    one.join();
    two.join();
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 2)
        return 2;
    folder = arguments[1];
    {
        sn::context context(1, &counting_allocator);
        numbers(context);
        circuits(context);
        errors(context);
        threads(context);
        // Declared before what it is needed by, and gone before it.
        auto early = std::make_unique<sn::context>(1, &counting_allocator);
        const sn::model model = sn::model::load(*early, at("model.safetensors"));
        sn::session late(*early, model);
        early.reset();
    }
    CHECK(counting_live_bytes() == 0);
    return 0;
}

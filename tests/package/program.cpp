// A user in C++17: handles freed by their owners, a callback without captures. Prints the version.
#include <cstdint>
#include <iostream>
#include <memory>
#include <sparsenet.h>
#include <string_view>
#include <vector>

template <auto release> struct free_by {
    template <typename T> void operator()(T *object) const
    {
        release(object);
    }
};
using context_owner = std::unique_ptr<sn_context, free_by<sn_context_free>>;
using model_owner = std::unique_ptr<sn_model, free_by<sn_model_free>>;
using session_owner = std::unique_ptr<sn_session, free_by<sn_session_free>>;

// Makes an object by a function of the library: owner gets what the out-parameter gave.
template <typename Owner, typename Create> Owner make(Create create)
{
    typename Owner::pointer object = nullptr;
    return create(&object) == SN_OK ? Owner(object) : Owner();
}

int main()
{
    constexpr std::string_view config =
        R"({"vocab_size": 7, "n_layer": 1, "n_head": 2, "d_model": 16, "block_size": 8})";
    const auto context = make<context_owner>([](auto out) { return sn_context_create(out, nullptr); });
    if (!context)
        return 1;
    const auto model = make<model_owner>(
        [&](auto out) { return sn_model_create(out, context.get(), config.data(), config.size(), 1); });
    const auto session = make<session_owner>(
        [&](auto out) { return sn_session_create(out, context.get(), model.get(), nullptr); });
    const std::vector<std::int32_t> tokens{1, 2, 3};
    const std::vector<std::size_t> offsets{0, tokens.size()};
    std::size_t n_logits = 0;
    if (!session || sn_session_forward(session.get(), tokens.data(), offsets.data(), 1) != SN_OK ||
        sn_session_logits(nullptr, 0, &n_logits, session.get()) != SN_OK || n_logits != 3 * 7) {
        std::cerr << sn_context_message(context.get()) << '\n';
        return 1;
    }
    std::cout << sn_version_string() << '\n';
}

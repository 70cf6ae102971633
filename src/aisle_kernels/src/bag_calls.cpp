#include "bag_calls.hpp"

#include "bytes.hpp"
#include "objects.hpp"

namespace aisle {

namespace {

constexpr int64_t kChannels = 65536;
// MCAP: opcode and length before each record; then, in a message, channel id, sequence, log time and publish time.
constexpr int64_t kRecordHead = 9, kMessageHead = 22;
constexpr uint64_t kMessage = 5;

PyObject* chunk_messages(Values values, Py_ssize_t given) {
    Arguments arguments("chunk_messages", values, given, 3);
    const int64_t size = arguments.rows(1);
    Bytes left(arguments.bytes(size), size);
    PyObject* offset = arguments.object();
    const uint8_t* wanted = arguments.bytes(kChannels);
    Owned found(PyList_New(0));
    while (left.left() > 0) {
        const int64_t position = size - left.left();
        const uint64_t opcode = left.left() < kRecordHead ? 0 : left.number(1);
        const uint64_t length = left.left() < kRecordHead - 1 ? UINT64_MAX : left.number(8);
        if (length > static_cast<uint64_t>(left.left()) || (opcode == kMessage && length < static_cast<uint64_t>(kMessageHead))) {
            PyErr_Format(PyExc_ValueError, "a record at byte %lld of a chunk of %lld bytes does not fit into it",
                         static_cast<long long>(position), static_cast<long long>(size));
            throw PythonError{};
        }
        Bytes content(left.data(), static_cast<int64_t>(length));
        left.skip(static_cast<int64_t>(length));
        if (opcode != kMessage) continue;
        const uint64_t channel = content.number(2);
        if (!wanted[channel]) continue;
        const uint64_t sequence = content.number(4), log_time = content.number(8), publish_time = content.number(8);
        const Owned message(Py_BuildValue("(KOKy#KK)", static_cast<unsigned long long>(log_time), offset,
                                          static_cast<unsigned long long>(channel), reinterpret_cast<const char*>(content.data()),
                                          static_cast<Py_ssize_t>(content.left()), static_cast<unsigned long long>(publish_time),
                                          static_cast<unsigned long long>(sequence)));
        if (PyList_Append(found.object, message.object) < 0) throw PythonError{};
    }
    return found.given_away();
}

}  // namespace

PyMethodDef kBagMethods[] = {
    method<chunk_messages>("chunk_messages", "chunk_messages(chunk, offset, wanted) -> list of stored messages"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace aisle

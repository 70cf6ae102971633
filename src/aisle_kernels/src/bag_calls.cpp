#include "bag_calls.hpp"

namespace aisle {

namespace {

// Bytes that are read from the front, little-endian wherever this runs.
class Bytes {
public:
    Bytes(const uint8_t* data, int64_t size) : data_(data), left_(size) {}

    const uint8_t* data() const { return data_; }
    int64_t left() const { return left_; }
    void skip(int64_t count) { data_ += count, left_ -= count; }

    uint64_t number(int bytes) {
        uint64_t value = 0;
        for (int k = 0; k < bytes; ++k) value |= static_cast<uint64_t>(data_[k]) << (8 * k);
        skip(bytes);
        return value;
    }

private:
    const uint8_t* data_;
    int64_t left_;
};

// What owns a Python object.
struct Owned {
    PyObject* object;
    explicit Owned(PyObject* given) : object(given) {
        if (!given) throw PythonError{};
    }
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    ~Owned() { Py_XDECREF(object); }
    PyObject* given_away() {
        PyObject* given = object;
        object = nullptr;
        return given;
    }
};

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

// Words of a person in aisle_msgs/PersonDetection before the keypoints: the box's edges, the score and how many numbers follow.
constexpr int64_t kBeforeKeypoints = 6;

PyObject* person_sizes(Values values, Py_ssize_t given) {
    Arguments arguments("person_sizes", values, given, 3);
    const int64_t size = arguments.rows(1);
    const uint8_t* data = arguments.bytes(size);
    const int64_t start = arguments.integer(), count = arguments.integer();
    if (start < 0 || start > size || count < 1) Py_RETURN_NONE;
    uint64_t keypoints = 0, embedding = 0;
    Bytes left(data + start, size - start);
    for (int64_t person = 0; person < count; ++person) {
        if (left.left() < 4 * kBeforeKeypoints) Py_RETURN_NONE;
        left.skip(4 * (kBeforeKeypoints - 1));
        const uint64_t points = left.number(4);
        if (4 * points + 4 > static_cast<uint64_t>(left.left())) Py_RETURN_NONE;
        left.skip(4 * static_cast<int64_t>(points));
        const uint64_t length = left.number(4);
        if (4 * length > static_cast<uint64_t>(left.left())) Py_RETURN_NONE;
        left.skip(4 * static_cast<int64_t>(length));
        if (person > 0 && (points != keypoints || length != embedding)) Py_RETURN_NONE;
        keypoints = points, embedding = length;
    }
    // Less than a word may follow.
    if (left.left() >= 4) Py_RETURN_NONE;
    return Py_BuildValue("LL", static_cast<long long>(keypoints), static_cast<long long>(embedding));
}

PyObject* made(Values values, Py_ssize_t given) {
    if (given != 3 || !PyType_Check(values[0]) || !PyTuple_Check(values[1]) || !PyTuple_Check(values[2]) ||
        PyTuple_GET_SIZE(values[1]) != PyTuple_GET_SIZE(values[2])) {
        PyErr_SetString(PyExc_TypeError, "made: expected a class, a tuple of names and a tuple of as many values");
        throw PythonError{};
    }
    auto* type = reinterpret_cast<PyTypeObject*>(values[0]);
    Owned object(type->tp_alloc(type, 0));
    // As the constructors of frozen dataclasses do it.
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values[1]); ++i)
        if (PyObject_GenericSetAttr(object.object, PyTuple_GET_ITEM(values[1], i), PyTuple_GET_ITEM(values[2], i)) < 0) throw PythonError{};
    return object.given_away();
}

}  // namespace

PyMethodDef kBagMethods[] = {
    method<chunk_messages>("chunk_messages", "chunk_messages(chunk, offset, wanted) -> list of stored messages"),
    method<person_sizes>("person_sizes", "person_sizes(message, start, count) -> (keypoint numbers, embedding numbers) or None"),
    method<made>("made", "made(class, names, values) -> object"),
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace aisle
